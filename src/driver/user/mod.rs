//! What is the user's: the sink and the observers, called where a panic does no harm.

pub(crate) mod callbacks;
pub(crate) mod context;
pub(crate) mod future;
pub(crate) mod sink;
