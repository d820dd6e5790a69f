//! The model checker's primitives, in the shapes of parking_lot and crossbeam-channel. There is no
//! time: every timed wait lasts until it is notified, so schedules are to be run with a manual clock.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use shuttle::thread::yield_now;
pub(crate) use shuttle::thread_local;

pub(crate) use self::channel::{Receiver, Sender, bounded};
pub(crate) use self::lock::{Condvar, Mutex, MutexGuard};

pub(crate) fn spawn(_name: String, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    shuttle::thread::spawn(body);
    Ok(())
}

mod lock {
    use std::ops::{Deref, DerefMut};
    use std::sync::{PoisonError, TryLockError};
    use std::time::Instant;

    use shuttle::sync;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    /// Empty only while [`Condvar::wait`] has the lock.
    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

    #[derive(Debug)]
    pub(crate) struct Condvar(sync::Condvar);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(sync::Mutex::new(value))
        }

        /// Like parking_lot's, it knows no poisoning.
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }

        pub(crate) fn is_locked(&self) -> bool {
            matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_deref().expect("the guard holds the lock")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_deref_mut().expect("the guard holds the lock")
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar(sync::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let lock = guard.0.take().expect("the guard holds the lock");
            guard.0 = Some(self.0.wait(lock).unwrap_or_else(PoisonError::into_inner));
        }

        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) {
            self.wait(guard);
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

/// As much of crossbeam-channel as the crate uses, which never fills one.
mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Condvar, Mutex};

    #[derive(Debug)]
    struct Shared<T> {
        messages: Mutex<VecDeque<T>>,
        sent: Condvar,
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Arc<Shared<T>>);
    #[derive(Debug)]
    pub(crate) struct Receiver<T>(Arc<Shared<T>>);

    pub(crate) fn bounded<T>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared { messages: Mutex::new(VecDeque::new()), sent: Condvar::new() });
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, message: T) -> Result<(), ()> {
            self.0.messages.lock().push_back(message);
            self.0.sent.notify_all();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            self.0.messages.lock().pop_front().ok_or(())
        }

        pub(crate) fn recv_timeout(&self, _timeout: Duration) -> Result<T, ()> {
            let mut messages = self.0.messages.lock();
            loop {
                if let Some(message) = messages.pop_front() {
                    return Ok(message);
                }
                self.0.sent.wait(&mut messages);
            }
        }
    }
}
