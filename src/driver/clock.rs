//! The only place that reads a clock, and that waits for one.

use std::time::{Duration, Instant};

use super::sync::{Condvar, MutexGuard};
#[cfg(feature = "test-util")]
pub use manual::ManualClock;

#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// Monotonic: jumps of the wall clock change nothing.
    System(Instant),
    /// A runtime's own monotonic clock, which its tests can pause.
    #[cfg(feature = "tokio")]
    Runtime(tokio::runtime::Handle, tokio::time::Instant),
    #[cfg(feature = "test-util")]
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Clock::System(Instant::now())
    }

    /// The clock of a runtime.
    #[cfg(feature = "tokio")]
    pub(crate) fn of_runtime(runtime: &tokio::runtime::Handle) -> Self {
        let _inside = runtime.enter();
        Clock::Runtime(runtime.clone(), tokio::time::Instant::now())
    }

    /// The time since the clock's epoch.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::System(epoch) => epoch.elapsed(),
            #[cfg(feature = "tokio")]
            Clock::Runtime(_runtime, epoch) => {
                // A thread outside the runtime does not see that its time is paused.
                #[cfg(feature = "test-util")]
                let Some(_inside) = enter(_runtime) else { return epoch.into_std().elapsed() };
                epoch.elapsed()
            }
            #[cfg(feature = "test-util")]
            Clock::Manual(clock) => clock.now(),
        }
    }

    /// A point in time as the system knows it; `None` if time passes otherwise, or does not get there.
    pub(crate) fn instant(&self, time: Duration) -> Option<Instant> {
        match self {
            Clock::System(epoch) => epoch.checked_add(time),
            #[cfg(any(feature = "test-util", feature = "tokio"))]
            _ => None,
        }
    }

    /// Waits on `changed` until it is notified, or until `deadline`, whichever is first. May also
    /// wake up for nothing.
    pub(crate) fn wait<T>(
        &self,
        changed: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Duration>,
    ) {
        match (self, deadline) {
            (Clock::System(epoch), Some(deadline)) => match epoch.checked_add(deadline) {
                Some(instant) => drop(changed.wait_until(guard, instant)),
                None => changed.wait(guard),
            },
            // May be early or late by that clock: the waiter looks at it.
            #[cfg(feature = "tokio")]
            (Clock::Runtime(..), Some(deadline)) => {
                let patience = deadline.saturating_sub(self.now());
                // Paused time may pass without telling anybody.
                #[cfg(feature = "test-util")]
                let patience = patience.min(Duration::from_millis(5));
                match Instant::now().checked_add(patience) {
                    Some(instant) => drop(changed.wait_until(guard, instant)),
                    None => changed.wait(guard),
                }
            }
            // A manual clock notifies everybody whenever it moves.
            _ => changed.wait(guard),
        }
    }

    /// As [`wait`](Self::wait), for a task, which will be polled again when it is notified.
    #[cfg(feature = "tokio")]
    pub(crate) async fn sleep_until(&self, deadline: Option<Duration>) {
        let instant = match (self, deadline) {
            (Clock::System(epoch), Some(deadline)) => epoch.checked_add(deadline).map(Into::into),
            (Clock::Runtime(_, epoch), Some(deadline)) => epoch.checked_add(deadline),
            _ => None,
        };
        match instant {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

/// `None` on a thread at its end, which has destroyed what it knew of runtimes.
#[cfg(all(feature = "test-util", feature = "tokio"))]
fn enter(runtime: &tokio::runtime::Handle) -> Option<tokio::runtime::EnterGuard<'_>> {
    let current = tokio::runtime::Handle::try_current();
    let at_its_end = current.is_err_and(|error| error.is_thread_local_destroyed());
    (!at_its_end).then(|| runtime.enter())
}

#[cfg(feature = "test-util")]
mod manual {
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    use crate::driver::sync::Mutex;
    use crate::driver::user::context;

    /// Something that has to know when the time has moved.
    pub(crate) trait Listener: Send + Sync {
        /// When it will next have something to do on its own, if it wants to be stopped at.
        fn next_event(&self) -> Option<Duration>;
        /// The time has moved: do what is due.
        fn time_moved(&self);
    }

    /// A clock that moves only when it is told to, for tests.
    ///
    /// With [`Builder::clock`](crate::Builder::clock) a threaded buffer reads this clock instead of
    /// the system's; with [`Builder::start_inline`](crate::Builder::start_inline) a buffer has no
    /// threads at all and does its work inside [`advance`](Self::advance), on the calling thread, so
    /// that whole scenarios with intervals, retries and hibernation run in microseconds and the
    /// same way every time.
    ///
    /// Clones show the same time. One clock can drive several buffers. While it stands still,
    /// timeouts of threaded buffers do not end either: a call that waits for what never comes, or the
    /// drop of a last handle with data that cannot be delivered, waits until somebody advances it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # use std::sync::{Arc, Mutex};
    ///
    /// let flushed: Arc<Mutex<Vec<(String, i64)>>> = Arc::default();
    /// let store = Arc::clone(&flushed);
    /// let sink = move |key: &String, total: &Sum<i64>| {
    ///     store.lock().unwrap().push((key.clone(), total.0));
    ///     Ok::<(), String>(())
    /// };
    /// let clock = ManualClock::new();
    /// let buffer = Buffer::builder().interval(Duration::from_secs(5)).start_inline(sink, &clock).unwrap();
    /// buffer.add("page", 1).unwrap();
    /// buffer.add("page", 2).unwrap();
    ///
    /// clock.advance(Duration::from_millis(4_999));
    /// assert!(flushed.lock().unwrap().is_empty());
    /// clock.advance(Duration::from_millis(1));
    /// assert_eq!(*flushed.lock().unwrap(), [("page".to_owned(), 3)]);
    /// ```
    #[derive(Clone, Default)]
    pub struct ManualClock {
        shared: Arc<Shared>,
    }

    #[derive(Default)]
    struct Shared {
        now: Mutex<Duration>,
        listeners: Mutex<Vec<Weak<dyn Listener>>>,
    }

    impl std::fmt::Debug for ManualClock {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("ManualClock").field(&self.now()).finish()
        }
    }

    impl ManualClock {
        /// A clock that shows zero.
        #[must_use]
        pub fn new() -> Self {
            ManualClock::default()
        }

        /// The time passed since zero.
        #[must_use]
        pub fn now(&self) -> Duration {
            *self.shared.now.lock()
        }

        /// Moves the time on. Stops at every event of an inline buffer on the way and carries it
        /// out; tells threaded buffers once it has arrived. `advance(Duration::ZERO)` does what is
        /// due already. Inside a callback it only moves the time.
        ///
        /// ```
        /// use std::time::Duration;
        /// use write_behind::ManualClock;
        ///
        /// let clock = ManualClock::new();
        /// let other = clock.clone();
        /// clock.advance(Duration::from_secs(86_400)); // a day, at once
        /// assert_eq!(other.now(), Duration::from_secs(86_400));
        /// ```
        ///
        /// # Panics
        ///
        /// If the time would pass `Duration::MAX`.
        pub fn advance(&self, by: Duration) {
            let target = self.now() + by;
            self.notify();
            while let Some(event) = self.next_event().filter(|&event| event <= target) {
                self.move_to(event);
                self.notify();
            }
            self.move_to(target);
            self.notify();
        }

        pub(crate) fn listen(&self, listener: Weak<dyn Listener>) {
            let mut listeners = self.shared.listeners.lock();
            listeners.retain(|listener| listener.strong_count() > 0);
            listeners.push(listener);
        }

        fn move_to(&self, time: Duration) {
            let mut now = self.shared.now.lock();
            *now = time.max(*now);
        }

        fn listeners(&self) -> Vec<Arc<dyn Listener>> {
            self.shared.listeners.lock().iter().filter_map(Weak::upgrade).collect()
        }

        /// The next event that lies in the future.
        fn next_event(&self) -> Option<Duration> {
            if context::in_any_callback() {
                return None;
            }
            let now = self.now();
            let events = self.listeners().into_iter().filter_map(|listener| listener.next_event());
            events.filter(|&event| event > now).min()
        }

        fn notify(&self) {
            self.listeners().into_iter().for_each(|listener| listener.time_moved());
        }
    }
}

#[cfg(feature = "test-util")]
pub(crate) use manual::Listener;
