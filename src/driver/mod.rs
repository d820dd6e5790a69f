//! The drivers: they hold the locks, read the clock, own the threads, and are the only callers of
//! user code. Rooms by the way of the data: in (`intake`), out (`flush`), those who wait for it (`wait`),
//! what is the user's (`user`), and who does the work (`run`).

pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod core;
pub(crate) mod flush;
mod fork;
pub(crate) mod intake;
#[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "nobody makes a journal"))]
pub(crate) mod journal;
mod read;
pub(crate) mod run;
mod shutdown;
pub(crate) mod sync;
pub(crate) mod user;
pub(crate) mod wait;
