//! The primitives that the crate locks, waits and spawns with, in one place, so that a model
//! checker's can stand in for them (`--cfg shuttle`).

#[cfg(not(shuttle))]
mod chosen {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::thread_local;

    pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name(name).spawn(body).map(drop)
    }
}

#[cfg(shuttle)]
mod chosen {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use shuttle::thread::yield_now;
    pub(crate) use shuttle::thread_local;
    pub(crate) use shuttle_parking_lot::{Condvar, Mutex, MutexGuard};

    pub(crate) use self::channel::{Receiver, Sender, bounded};

    pub(crate) fn spawn(_name: String, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        shuttle::thread::spawn(body);
        Ok(())
    }

    /// As much of crossbeam-channel as the crate uses, on the checker's primitives.
    mod channel {
        use std::collections::VecDeque;
        use std::sync::Arc;

        use super::{Condvar, Mutex};

        #[derive(Debug)]
        struct Shared<T> {
            state: Mutex<(VecDeque<T>, bool)>,
            changed: Condvar,
        }

        #[derive(Debug)]
        pub(crate) struct Sender<T>(Arc<Shared<T>>);
        #[derive(Debug)]
        pub(crate) struct Receiver<T>(Arc<Shared<T>>);

        pub(crate) fn bounded<T>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
            let shared = Shared { state: Mutex::new((VecDeque::new(), false)), changed: Condvar::new() };
            let shared = Arc::new(shared);
            (Sender(Arc::clone(&shared)), Receiver(shared))
        }

        impl<T> Sender<T> {
            pub(crate) fn send(&self, message: T) -> Result<(), ()> {
                self.0.state.lock().0.push_back(message);
                self.0.changed.notify_one();
                Ok(())
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                self.0.state.lock().1 = true;
                self.0.changed.notify_all();
            }
        }

        impl<T> Clone for Receiver<T> {
            fn clone(&self) -> Self {
                Receiver(Arc::clone(&self.0))
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn recv(&self) -> Result<T, ()> {
                let mut state = self.0.state.lock();
                loop {
                    if let Some(message) = state.0.pop_front() {
                        return Ok(message);
                    }
                    if state.1 {
                        return Err(());
                    }
                    self.0.changed.wait(&mut state);
                }
            }
        }
    }
}

pub(crate) use chosen::*;

use std::sync::Arc;

/// Takes the value out of an `Arc` whose other holders are about to let go: readers that copy
/// something out of it and never wait meanwhile.
pub(crate) fn unwrap_soon<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(value) => return value,
            Err(still_shared) => shared = still_shared,
        }
        yield_now();
    }
}
