use std::fmt;
use std::hash::BuildHasher;
use std::time::Duration;

use super::Buffer;
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::sync::Ordering;
use crate::driver::wait::life::Phase;
use crate::error::ShutdownError;
use crate::hasher::RandomState;
use crate::key::Key;

/// # The end
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// Whether inserts are refused because the buffer has been shut down.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// assert!(views.is_closed() && views.add("/home", 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().life.phase() > Phase::Open
    }

    /// Closes the buffer, flushes everything without waiting for intervals or backoff, and returns
    /// when all is delivered and the sink is gone, at the latest after `timeout`.
    ///
    /// From the call on inserts are refused. `Ok` means that whatever was accepted before is stored, removed
    /// or was taken by a `handle_error` that you wrote. While there is time, a failed flush is tried again,
    /// however many attempts the retry policy has left, 50 ms later at first and at most 1 s (only data
    /// that the sink [gives up](crate::FlushError::give_up) is not). May be called again and by several
    /// threads at once: all wait for the same end.
    ///
    /// When all callbacks are back, the sink is told ([`handle_retired`](crate::DataBuffer::handle_retired))
    /// and dropped, by the buffer's scheduler.
    ///
    /// A callback that is still running at the deadline is left alone: its data is returned as
    /// [`UndeliveredState::InCallback`](crate::UndeliveredState::InCallback), may yet be applied,
    /// and what it returns is ignored. Data that `handle_error` has been given, or that waits for it
    /// behind such data of the same batch, is settled when that is over; if it is then to be kept, the next
    /// call of this returns it.
    ///
    /// What was not delivered is in the error, and **lost if that is dropped**.
    ///
    /// # With a journal
    ///
    /// What was not delivered stays in the journal, for the next start: this returns `Ok`,
    /// [`ShutdownReport::journaled`] says how much that is, and nothing is handed back, because storing it by other means
    /// would count it twice. What a callback still has in its hands at the deadline is in the journal as well, and is sent
    /// again under the same id. The sink is not told (`handle_retired`), because its instance goes on.
    ///
    /// The last commit comes after the deadline and is waited for: the call may take longer by its time. The file is let go
    /// when all callbacks are back; until then a second buffer on it is refused as `InUse`. If nothing is left in it,
    /// it is written anew and small.
    ///
    /// If the file **cannot be written at the end**, leftovers are handed back as without a journal, and the file
    /// holds an earlier state, of which some may be among the leftovers. Use one of the two: either drop the leftovers
    /// and start with the file, which loses what came after its last commit; or store the leftovers, and move the file away
    /// before the next start. Both together count twice what is in both. What was
    /// [in doubt](crate::Undelivered::may_be_applied) has its id; whoever stores it has to ask for that first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn bury(_: &str, _: i64) {}
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// if let Err(error) = views.shutdown(Duration::from_secs(10)) {
    ///     for left in error.into_undelivered() {
    ///         bury(left.key(), left.data().0); // to a file, say
    ///     }
    /// }
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Undelivered`] with every key and data that was not delivered, unless a journal keeps it; only one of
    /// several callers gets them, the others [`ShutdownError::AlreadyReturned`].
    /// [`ShutdownError::WouldDeadlock`] inside a callback of the same
    /// buffer, which is closed all the same and drains within `timeout`.
    pub fn shutdown(&self, timeout: Duration) -> Result<ShutdownReport, ShutdownError<K, V>> {
        let core = self.core();
        core.may_call()?;
        let deadline = core.deadline(timeout);
        core.begin_shutdown(deadline);
        core.may_wait()?;
        core.await_closed(deadline);
        self.hand_back()
    }

    pub(super) fn hand_back(&self) -> Result<ShutdownReport, ShutdownError<K, V>> {
        let (leftovers, ever) = self.core().fetch_undelivered();
        match ever {
            0 => Ok(ShutdownReport { journaled: self.core().kept_in_journal() }),
            _ if leftovers.inserts() > 0 => Err(ShutdownError::Undelivered(leftovers)),
            inserts => Err(ShutdownError::AlreadyReturned { inserts }),
        }
    }

    /// **What is not delivered within `timeout` is lost**, unless a journal keeps it. [`shutdown`](Self::shutdown) returns it
    /// instead.
    ///
    /// Shuts the buffer down when the guard is dropped, for at most `timeout`, and tells the observers what
    /// is left. For a buffer in a `static`, whose handle is never dropped: what it holds at the end of the
    /// program is lost unless it is shut down.
    ///
    /// ```
    /// use std::sync::LazyLock;
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    ///
    /// static VIEWS: LazyLock<SummingBuffer<String, i64>> = LazyLock::new(|| {
    ///     let store = |page: &String, views: &Sum<i64>| {
    ///         println!("{page}: {}", views.0);
    ///         Ok::<(), std::io::Error>(())
    ///     };
    ///     Buffer::builder().start(store).expect("the settings are valid")
    /// });
    ///
    /// fn main() {
    ///     // Dropped at the end of main, also by a panic; not by `std::process::exit`.
    ///     let _guard = VIEWS.shutdown_on_drop(Duration::from_secs(10));
    ///     VIEWS.increment("/home").expect("there is room");
    /// }
    /// ```
    #[must_use = "the buffer is shut down when the guard is dropped"]
    pub fn shutdown_on_drop(&self, timeout: Duration) -> ShutdownGuard<K, V, S> {
        ShutdownGuard { buffer: self.clone(), timeout }
    }
}

/// How a buffer ended of which nothing is lost: everything is delivered, or in the journal.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views = Buffer::builder().start(store)?;
/// views.add("/home", 1)?;
/// let report = views.shutdown(Duration::from_secs(10))?;
/// assert_eq!(report.journaled, 0, "there is no journal: all of it is delivered");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Inserts that were not delivered and are in the journal, for the next start: [`Stats::journaled`](crate::Stats::journaled).
    /// Always 0 without one.
    pub journaled: u64,
}

/// Shuts a buffer down when it is dropped: see [`Buffer::shutdown_on_drop`].
pub struct ShutdownGuard<K: Key, V: Aggregate, S: BuildHasher = RandomState> {
    buffer: Buffer<K, V, S>,
    timeout: Duration,
}

impl<K: Key, V: Aggregate, S: BuildHasher> fmt::Debug for ShutdownGuard<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownGuard").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for ShutdownGuard<K, V, S> {
    fn drop(&mut self) {
        let core = self.buffer.core();
        close(core, core.deadline(self.timeout));
    }
}

pub(super) fn last_dropped<K: Key, V: Aggregate, S: BuildHasher>(core: &Core<K, V, S>) {
    core.orphaned.store(true, Ordering::Relaxed);
    close(core, core.deadline(core.settings.drop_timeout));
}

/// Shuts down without anybody to hand anything back to.
fn close<K: Key, V: Aggregate, S: BuildHasher>(core: &Core<K, V, S>, deadline: Duration) {
    if core.may_call().is_err() {
        return;
    }
    if core.life.phase() < Phase::Retired {
        core.begin_shutdown(deadline);
        if !core.may_wait_in_drop() {
            return;
        }
        core.await_closed(deadline);
    }
    core.report_left();
}
