//! The model checker's primitives, in the shapes of parking_lot and crossbeam-channel. There is no
//! time: every timed wait lasts until it is notified, so schedules are to be run with a manual clock.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    use std::sync::PoisonError;
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

        /// Never says that it timed out.
        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) -> bool {
            self.wait(guard);
            false
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

/// As much of crossbeam-channel as the crate uses: one sender, any number of receivers.
mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::{Condvar, Mutex};

    #[derive(Debug)]
    struct Shared<T> {
        state: Mutex<State<T>>,
        changed: Condvar,
    }

    #[derive(Debug)]
    struct State<T> {
        messages: VecDeque<T>,
        capacity: usize,
        sender_gone: bool,
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Arc<Shared<T>>);
    #[derive(Debug)]
    pub(crate) struct Receiver<T>(Arc<Shared<T>>);

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { messages: VecDeque::new(), capacity, sender_gone: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, message: T) -> Result<(), ()> {
            let mut state = self.0.state.lock();
            while state.messages.len() == state.capacity {
                self.0.changed.wait(&mut state);
            }
            state.messages.push_back(message);
            self.0.changed.notify_all();
            Ok(())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state.lock().sender_gone = true;
            self.0.changed.notify_all();
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Receiver(Arc::clone(&self.0))
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            let message = self.0.state.lock().messages.pop_front().ok_or(())?;
            self.0.changed.notify_all();
            Ok(message)
        }

        pub(crate) fn recv(&self) -> Result<T, ()> {
            let mut state = self.0.state.lock();
            loop {
                if let Some(message) = state.messages.pop_front() {
                    self.0.changed.notify_all();
                    return Ok(message);
                }
                if state.sender_gone {
                    return Err(());
                }
                self.0.changed.wait(&mut state);
            }
        }
    }
}
