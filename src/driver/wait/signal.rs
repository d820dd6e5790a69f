use std::time::Duration;

use crate::driver::clock::Clock;
use crate::driver::sync::{Condvar, Mutex, MutexGuard};
#[cfg(feature = "tokio")]
use crate::driver::user::future::race;

/// A state that threads and tasks can wait on.
///
/// Whoever [`change`](Self::change)s the state does so under the lock and then calls; whoever waits looks
/// at it under the lock, after it has made sure of hearing the next call. So none is missed.
#[derive(Debug)]
pub(crate) struct Signal<T> {
    state: Mutex<T>,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    tasks: tokio::sync::Notify,
}

impl<T> Signal<T> {
    pub(crate) fn new(state: T) -> Self {
        Signal {
            state: Mutex::new(state),
            changed: Condvar::new(),
            #[cfg(feature = "tokio")]
            tasks: tokio::sync::Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock()
    }

    /// Changes the state. If `change` says that this is news, everybody who waits looks at it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let news = change(&mut self.lock());
        if news {
            self.notify();
        }
    }

    /// Has everybody who waits look at the state. To be called without any lock: a task's waker is
    /// somebody else's code, and may even drop the call that waits.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
        #[cfg(feature = "tokio")]
        self.tasks.notify_waiters();
    }

    /// Has everybody who waits look at the clock again, though nothing has changed.
    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        self.change(|_| true);
    }

    /// Blocks the thread until `look` finds something in the state; `None` if `deadline` comes first.
    pub(crate) fn wait<R>(
        &self,
        clock: &Clock,
        deadline: Option<Duration>,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        loop {
            let found = look(&mut state);
            if found.is_some() || deadline.is_some_and(|deadline| clock.now() >= deadline) {
                return found;
            }
            clock.wait(&self.changed, &mut state, deadline);
        }
    }

    /// As [`wait`](Self::wait), for a task. Nothing of it stays behind when the future is dropped.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async<R>(
        &self,
        clock: &Clock,
        deadline: Option<Duration>,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        loop {
            // From here on it hears every call, even before it is polled.
            let notified = self.tasks.notified();
            let found = look(&mut self.lock());
            if found.is_some() || deadline.is_some_and(|deadline| clock.now() >= deadline) {
                return found;
            }
            let _ = race(notified, clock.sleep_until(deadline)).await;
        }
    }
}
