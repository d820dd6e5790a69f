use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::Buffer;
use crate::aggregate::Aggregate;
use crate::batch::FlushReason;
use crate::driver::wait::waiter::WaiterRef;
use crate::error::FlushWaitError;
use crate::key::Key;

/// # Flushing sooner
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// Makes the key's data due now and returns at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush("/home");
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert!(!views.contains("/home") && views.contains("/news"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) {
        self.callable().request(key, None);
    }

    /// Makes everything due now and returns at once. O(keys).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush_all();
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!(views.stats().flushed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_all(&self) {
        self.callable().request_all(FlushReason::Requested, None);
    }

    /// Flushes the key and waits until everything of it that was there at the time of the call has
    /// been settled: pending, in flight and waiting for a retry. Does not cut a retry's wait short.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().interval(Duration::from_secs(3_600)).start(store)?;
    /// views.add("/home", 1)?;
    /// views.flush_and_wait("/home", Duration::from_secs(10))?; // not an hour later
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FlushWaitError::Failed`] if some of it was given up, with the sink's error as the source;
    /// [`TimedOut`](FlushWaitError::TimedOut) after `timeout` (the flush goes on);
    /// [`Closed`](FlushWaitError::Closed) if the buffer was shut down first;
    /// [`WouldDeadlock`](FlushWaitError::WouldDeadlock) inside a callback of the same buffer.
    pub fn flush_and_wait<Q>(&self, key: &Q, timeout: Duration) -> Result<(), FlushWaitError>
    where
        Q: ?Sized + Hash + Equivalent<K>,
    {
        let core = self.core();
        core.may_call()?;
        let partition = core.intake.spot(key).partition;
        self.wait(timeout, partition..partition + 1, |waiter| core.request(key, Some(waiter)))
    }

    /// Flushes everything and waits for all that was there at the time of the call. Clones every
    /// key; O(keys).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush_all_and_wait(Duration::from_secs(10))?; // before a backup, say
    /// assert_eq!(views.stats().flushed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`flush_and_wait`](Self::flush_and_wait), with the first of the failures.
    pub fn flush_all_and_wait(&self, timeout: Duration) -> Result<(), FlushWaitError> {
        let core = self.core();
        core.may_call()?;
        self.wait(timeout, 0..core.intake.partitions(), |waiter| {
            core.request_all(FlushReason::Requested, Some(waiter));
        })
    }

    /// Has no callback of the sink begin until [`resume`](Self::resume), for maintenance of the storage. Callbacks that run
    /// go on: [`Stats::workers`](crate::Stats::workers) is 0 when the last of them is back. Meanwhile inserts are taken in as ever, up to
    /// the bounds; what falls due stays in its place, absorbs more, and leaves at once afterwards. Calls that wait
    /// for a flush wait. Shutdown and the drop of the last handle end the pause. Said twice it changes nothing;
    /// [`Stats::paused`](crate::Stats::paused) tells.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.pause();
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(3_600));
    /// views.add("/home", 1)?;
    /// assert_eq!((views.stats().flushed, views.count("/home").pending), (0, 2));
    /// views.resume();
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!((views.stats().flushed, views.stats().flushes), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) {
        self.callable().pause(true);
    }

    /// Ends a [`pause`](Self::pause), if there is one: what is due leaves now.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views: SummingBuffer<String, i64> = Buffer::builder().start(store)?;
    /// views.pause();
    /// // A table is moved.
    /// views.resume();
    /// assert!(!views.stats().paused);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) {
        self.callable().pause(false);
    }

    fn wait(
        &self,
        timeout: Duration,
        partitions: std::ops::Range<usize>,
        request: impl FnOnce(&WaiterRef),
    ) -> Result<(), FlushWaitError> {
        let core = self.core();
        core.may_wait()?;
        let deadline = core.deadline(timeout);
        let result = core.begin_waiting(partitions, request).wait(deadline);
        result.unwrap_or(Err(FlushWaitError::TimedOut(timeout)))
    }

    /// Offers what is kept as undelivered ([`Stats::undelivered`](crate::Stats::undelivered)) to the sink again, with fresh attempts.
    /// Returns how many keys are on their way now.
    ///
    /// Data of which an attempt may have been applied goes out as the identical batch under its id; other
    /// data is put back before newer data of its key. What cannot be offered now stays: keys of which newer
    /// data is in flight, and batches that are no longer whole because `handle_error` has taken a part of
    /// them. O(undelivered keys).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, RetryPolicy, Sum};
    ///
    /// let away = Arc::new(AtomicBool::new(true));
    /// let database = Arc::clone(&away);
    /// let sink = move |_: &String, _: &Sum<i64>| match database.load(Ordering::Relaxed) {
    ///     true => Err("the database is away"),
    ///     false => Ok(()),
    /// };
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().retry(RetryPolicy::never()).start_inline(sink, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(views.stats().undelivered, 1);
    ///
    /// away.store(false, Ordering::Relaxed); // somebody has repaired it
    /// assert_eq!(views.retry_undelivered(), 1);
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!((views.stats().undelivered, views.stats().flushed), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_undelivered(&self) -> usize {
        self.callable().retry_undelivered()
    }
}
