use std::time::Duration;

use super::Builder;
use crate::engine::retry::RetryPolicy;
use crate::settings::Overflow;

/// # Bounds, batches and failures
impl<K, V, S> Builder<K, V, S> {
    /// How many partitions the table has: inserts to different partitions never wait for each
    /// other. Default: 80. From 1 to 65 536, not necessarily a power of two.
    ///
    /// Each partition's table grows in powers of two. 80 of them are three quarters full at the
    /// default [`max_keys`](Self::max_keys) of a million; 64 would just have doubled and be half
    /// empty.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// // A few hundred keys from one thread: nobody waits for anybody.
    /// let views = Buffer::builder().partitions(1).start(store)?;
    /// # views.increment("/home")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.settings.partitions = partitions;
        self
    }

    /// How many keys a batch holds at most, for sinks that write batches. Default: 1 000. At least 1.
    ///
    /// Below 2^32.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{BatchDataBuffer, Buffer, FlushBatch, FlushError, ManualClock, Sum};
    ///
    /// struct Totals;
    ///
    /// impl BatchDataBuffer<u64, Sum<i64>> for Totals {
    ///     fn handle_flush_batch(&self, batch: &FlushBatch<u64, Sum<i64>>) -> Result<(), FlushError> {
    ///         assert!(batch.len() <= 2);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().max_batch_keys(2).start_inline(Totals, &clock)?;
    /// views.insert_many((0..5).map(|page| (page, 1)))?;
    /// views.flush_all_and_wait(Duration::from_secs(1))?;
    /// assert_eq!(views.stats().flushes, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_batch_keys(mut self, keys: usize) -> Self {
        self.settings.flushing.max_batch_keys = keys;
        self
    }

    /// How many callbacks of this buffer run at once at most, each on one of the threads that all buffers of the
    /// process share; with an async sink, each in a task. Default: 4. From 1 to 1 024, which is also the
    /// most of all buffers together. Up to as many batches again wait ready-made, and 16 times as many keys
    /// for a sink that writes key by key.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().flush_concurrency(16).start(store)?; // the pool has 16 connections
    /// # views.increment("/home")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_concurrency(mut self, threads: usize) -> Self {
        self.settings.flushing.concurrency = threads;
        self
    }

    /// **Cancels async callbacks**, whose data is then sent again: a sink that records no ids may count it twice.
    ///
    /// After this time a running callback is reported as overdue (observer and
    /// [`Stats::overdue`](crate::Stats::overdue)). A thread cannot be cancelled: the callback goes on,
    /// its keys stay in flight, and its result counts when it comes. An async callback is cancelled,
    /// which counts as a failure of unknown outcome. Default: 30 s. More than zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, _: &String, _: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
    ///         if context.attempt() == 1 {
    ///             std::future::pending::<()>().await; // the connection hangs
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let views = Buffer::builder().flush_timeout(Duration::from_secs(2)).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.flush_and_wait_async("/home", Duration::from_secs(10)).await?; // 2 s, a wait, and again
    /// assert_eq!((views.stats().overdue, views.stats().flushed), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.settings.flushing.timeout = timeout;
        self
    }

    /// How failed flushes are tried again. Default: without end, 1 s apart at first and 30 s in the end.
    /// `RetryPolicy::fixed(4, Duration::from_secs(1))` is what DataBuffer 0.1 does: three retries, a second apart.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, RetryPolicy, Sum};
    ///
    /// let broken = |_: &String, _: &Sum<i64>| Err("no such table");
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder()
    ///     .interval(Duration::from_secs(5))
    ///     .retry(RetryPolicy::fixed(4, Duration::from_secs(1)))
    ///     .start_inline(broken, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(8)); // the interval, and three waits
    /// assert_eq!((views.stats().failures, views.stats().undelivered), (4, 1));
    /// # views.shutdown(Duration::ZERO).unwrap_err();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry;
        self
    }

    /// How many different keys may hold data, in flight and retrying included. Default: 1 000 000.
    /// At least 1.
    ///
    /// ```
    /// use write_behind::{Buffer, InsertErrorKind, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().max_keys(1).start(store)?;
    /// views.add("/home", 1)?;
    /// views.add("/home", 1)?; // needs no room
    /// assert_eq!(views.add("/news", 1).unwrap_err().kind, InsertErrorKind::Full);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_keys(mut self, keys: u64) -> Self {
        self.settings.bounds.max_keys = keys;
        self
    }

    /// How much all data may weigh together ([`Aggregate::weight`](crate::Aggregate::weight)), in flight and retrying
    /// included. Default: 10 000 000: as many list items, or sums. At least 1.
    ///
    /// ```
    /// use write_behind::{Buffer, InsertErrorKind};
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().max_weight(2).start(store)?; // two items
    /// events.insert_ref("ada", 1)?;
    /// events.insert_ref("bob", 2)?;
    /// assert_eq!(events.insert_ref("ada", 3).unwrap_err().kind, InsertErrorKind::Full);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_weight(mut self, weight: u64) -> Self {
        self.settings.bounds.max_weight = weight;
        self
    }

    /// What an insert does when the buffer is full. Default: [`Overflow::Reject`].
    /// [`Overflow::Shed`] **loses data**.
    ///
    /// ```
    /// use write_behind::{Buffer, Overflow, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().max_keys(1).overflow(Overflow::Shed).start(store)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?; // `Ok`, and gone
    /// assert_eq!((views.stats().accepted, views.stats().shed), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.bounds.overflow = overflow;
        self
    }

    /// **What is not delivered within this time is lost** when the last handle is dropped, and told to observers.
    /// [`Buffer::shutdown`](crate::Buffer::shutdown) returns it instead, and a journal keeps it.
    ///
    /// How long the drop of the last handle waits for the flush of what is left, or, where it does not
    /// wait itself ([`Buffer`](crate::Buffer)), how long the buffer goes on for it. Default: 5 s. Zero delivers nothing
    /// more.
    /// Any length.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Observer, Sum};
    ///
    /// #[derive(Default)]
    /// struct Lost(AtomicU64);
    ///
    /// impl Observer for Lost {
    ///     fn undelivered(&self, _buffer: &str, _keys: usize, inserts: u64) {
    ///         self.0.fetch_add(inserts, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let lost = Arc::new(Lost::default());
    /// let views = Buffer::builder()
    ///     .drop_timeout(Duration::from_millis(20))
    ///     .observer(Arc::clone(&lost))
    ///     .start(|_: &String, _: &Sum<i64>| Err("the database is away"))?;
    /// views.add("/home", 1)?;
    /// drop(views);
    /// assert_eq!(lost.0.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drop_timeout = timeout;
        self
    }
}
