//! The faults that others made, each as a test named after the danger, and the cases that others
//! test their buffers with. Not here, because they cannot happen to a buffer without async:
//!
//! - a `Drop` that is never polled; an executor's thread blocked by a drop. They belong to the async
//!   driver.
//! - a semaphore awaited under a map's guard. The threaded kin, a full table during a flush, is
//!   here.
//! - gauges computed by folding over all keys on every insert. A matter of cost and not of what is
//!   observed; the benches watch it.
//! - a supervisor's restart intensity. There is no supervisor; panics in a row are here.

#[macro_use]
mod support;

#[path = "faults/concurrent.rs"]
mod concurrent;
#[path = "faults/dead_letters.rs"]
mod dead_letters;
#[path = "faults/ending.rs"]
mod ending;
#[path = "faults/failing.rs"]
mod failing;
#[path = "faults/held.rs"]
mod held;
#[path = "faults/key_by_key.rs"]
mod key_by_key;
#[path = "faults/late_retry.rs"]
mod late_retry;
#[path = "faults/ported.rs"]
mod ported;
#[path = "faults/scheduling.rs"]
mod scheduling;
#[path = "faults/shutting_down.rs"]
mod shutting_down;
#[path = "faults/under_locks.rs"]
mod under_locks;
