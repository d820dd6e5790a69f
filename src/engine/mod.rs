//! The engine: plain state machines. Time comes in as an argument, effects go out as values; no
//! lock, no thread, no clock, no channel and no I/O in here.

pub(crate) mod flights;
pub(crate) mod retry;
pub(crate) mod sequence;
pub(crate) mod shard;
pub(crate) mod tick;
pub(crate) mod timers;
pub(crate) mod watch;
