//! The drivers: they hold the locks, read the clock, own the threads, and are the only callers of
//! user code. `core` and what it uses know neither threads nor tasks; `threads`, `tasks`
//! and `inline` wait and call.

mod bulk;
pub(crate) mod clock;
pub(crate) mod complete;
pub(crate) mod context;
pub(crate) mod core;
pub(crate) mod doorbell;
pub(crate) mod future;
mod giving_up;
#[cfg(feature = "test-util")]
pub(crate) mod inline;
pub(crate) mod life;
pub(crate) mod pool;
pub(crate) mod read;
pub(crate) mod room;
pub(crate) mod schedule;
pub(crate) mod scheduler_state;
pub(crate) mod shutdown;
pub(crate) mod signal;
pub(crate) mod sink;
pub(crate) mod sync;
#[cfg(feature = "tokio")]
pub(crate) mod tasks;
pub(crate) mod threads;
mod volume;
pub(crate) mod waiter;
mod waiting;
