//! The primitives that the crate locks, waits and spawns with, in one place, so that a model
//! checker's can stand in for them (`--cfg shuttle`).

#[cfg(not(shuttle))]
mod chosen {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::thread_local;

    pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name(name).spawn(body).map(drop)
    }
}

#[cfg(shuttle)]
#[path = "sync/checked.rs"]
mod chosen;

pub(crate) use chosen::*;

use std::sync::Arc;

/// Takes the value out of an `Arc` whose other holders are about to let go: readers that copy
/// something out of it and never wait meanwhile.
pub(crate) fn unwrap_soon<T>(mut shared: Arc<T>) -> T {
    loop {
        // `get_mut` orders what the others did before by an acquire load. The fence in `try_unwrap`
        // would do, but ThreadSanitizer does not understand fences.
        if Arc::get_mut(&mut shared).is_some() {
            match Arc::try_unwrap(shared) {
                Ok(value) => return value,
                Err(still_shared) => shared = still_shared,
            }
        }
        yield_now();
    }
}
