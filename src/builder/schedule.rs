use std::time::Duration;

use super::Builder;
use crate::interval::IntervalPolicy;
use crate::settings::CountStep;

/// # When keys are flushed
impl<K, V, S> Builder<K, V, S> {
    /// The longest time that data stays before it is flushed, counted from the first insert of its
    /// generation. Default: 5 s. Resolution: 1 ms, rounded up. From more than zero to 12 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().interval(Duration::from_secs(60)).start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(40));
    /// views.add("/home", 1)?; // moves nothing
    /// clock.advance(Duration::from_secs(20));
    /// assert_eq!(views.stats().flushed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.schedule.interval = interval;
        self
    }

    /// The upper end of a uniformly random time that is added to each generation's interval, so
    /// that keys that began together do not flush together. Default: zero. Interval and jitter
    /// together at most 12 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder()
    ///     .interval(Duration::from_secs(60))
    ///     .jitter(Duration::from_secs(10))
    ///     .start_inline(store, &clock)?;
    /// for page in 0..100 {
    ///     views.add(&format!("/{page}"), 1)?;
    /// }
    /// clock.advance(Duration::from_secs(65));
    /// assert!((1..100).contains(&views.stats().flushed)); // about half of them
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(views.stats().flushed, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.settings.schedule.jitter = jitter;
        self
    }

    /// How much later than after its interval and jitter a generation may leave, so that others which would be due within
    /// that time leave in the same batch: deadlines are at multiples of it, counted from the buffer's start. For sinks
    /// that write batches; without it keys that began a few milliseconds apart leave in as many batches. Requests, counts
    /// and shutdown do not wait for it. Default: zero. Resolution: 1 ms. At most the interval.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{BatchDataBuffer, Buffer, FlushBatch, FlushError, ManualClock, Sum, SummingBuffer};
    ///
    /// struct Rows;
    ///
    /// impl BatchDataBuffer<u32, Sum<i64>> for Rows {
    ///     fn handle_flush_batch(&self, batch: &FlushBatch<u32, Sum<i64>>) -> Result<(), FlushError> {
    ///         assert_eq!(batch.len(), 100); // one statement for all that began within 100 ms
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let clock = ManualClock::new();
    /// let builder = Buffer::builder().interval(Duration::from_secs(1)).linger(Duration::from_millis(100));
    /// let views: SummingBuffer<u32, i64> = builder.start_inline(Rows, &clock)?;
    /// for page in 1..=1_000 {
    ///     clock.advance(Duration::from_millis(1));
    ///     views.add(&page, 1)?;
    /// }
    /// clock.advance(Duration::from_millis(1_100));
    /// assert_eq!((views.stats().flushed, views.stats().flushes), (1_000, 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.schedule.linger = linger;
        self
    }

    /// Has `policy` decide for each generation how long it may stay; [`interval`](Self::interval) is
    /// the longest that it can choose, and [`jitter`](Self::jitter) is added. Default: none, every
    /// generation may stay for the interval. The policy is asked once per generation, under the lock
    /// of the key's partition: see [`IntervalPolicy`] for what it must not do, and what happens if it
    /// panics.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder()
    ///     .interval(Duration::from_secs(60))
    ///     .interval_policy(|page: &String, _: &Sum<i64>, _| Duration::from_secs(if page == "/home" { 1 } else { 60 }))
    ///     .start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// clock.advance(Duration::from_secs(1));
    /// assert!(!views.contains("/home") && views.contains("/news"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn interval_policy(mut self, policy: impl IntervalPolicy<K, V>) -> Self {
        self.interval_policy = Some(Box::new(policy));
        self
    }

    /// Lets a generation stay for at most `within`, counted as [`interval`](Self::interval) is from
    /// its first insert and with the same jitter added, once it has absorbed this many inserts: busy
    /// keys are flushed sooner than quiet ones. May be called several times, for example
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let builder = write_behind::Builder::<u64, Vec<u64>>::new();
    /// let builder = builder
    ///     .interval(Duration::from_secs(10))
    ///     .interval_at_count(10, Duration::from_secs(5))
    ///     .interval_at_count(100, Duration::from_secs(1))
    ///     .flush_at_count(1_000);
    /// # let _ = builder;
    /// ```
    ///
    /// The insert that brings the count there pulls the deadline forward, never back, and makes the
    /// generation due at once if that time is over; the reason is
    /// [`FlushReason::Deadline`](crate::FlushReason::Deadline) either way. Data that is put back
    /// ([`Verdict::Requeue`](crate::Verdict::Requeue)) begins with its fresh deadline, whatever steps
    /// it has passed. The multi-interval rule of the Java library buffer-trigger.
    ///
    /// Default: none. Counts from 2, below [`flush_at_count`](Self::flush_at_count), each once; times longer than
    /// zero, shorter than the interval and the shorter the higher the count. Resolution: 1 ms,
    /// rounded up. Cost: 8 bytes a key, and a look at the list for each insert from the first count
    /// on.
    pub fn interval_at_count(mut self, inserts: u32, within: Duration) -> Self {
        self.settings.schedule.interval_at_count.push(CountStep { inserts, interval: within });
        self
    }

    /// Flushes a key when it has absorbed this many inserts, without waiting for its deadline.
    /// Default: never. At least 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().flush_at_count(3).start_inline(store, &clock)?;
    /// for _ in 0..3 {
    ///     views.increment("/home")?;
    /// }
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!(views.stats().flushed, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_at_count(mut self, inserts: u32) -> Self {
        self.settings.schedule.flush_at_count = Some(inserts);
        self
    }

    /// Makes everything that is pending due when so many inserts are pending in the whole buffer,
    /// whatever their deadlines; what is inserted after that waits for its own. Default: never. At
    /// least 1. The reason is [`FlushReason::Volume`](crate::FlushReason::Volume).
    ///
    /// An insert counts until it leaves the table, and once only: not again while it waits for a worker
    /// after this has made it due, and not when it is put back
    /// ([`Verdict::Requeue`](crate::Verdict::Requeue)). Never late; early by at most a sixteenth of
    /// `inserts`, for partitions count in chunks. Exact below 32 times the number of
    /// [`partitions`](Self::partitions) (2 560 by default), where the chunk is one insert.
    ///
    /// Cost: an atomic for each chunk, and for the insert that gets there a
    /// [`flush_all`](crate::Buffer::flush_all).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().flush_all_at_count(3).start_inline(store, &clock)?;
    /// for page in ["/home", "/news", "/about"] {
    ///     views.increment(page)?;
    /// }
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!(views.stats().flushed, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_all_at_count(mut self, inserts: u64) -> Self {
        self.settings.schedule.flush_all_at_count = Some(inserts);
        self
    }

    /// After this time without any data the buffer goes to rest: it has no thread, its tables are
    /// given back, and nothing wakes up until the next insert. Default: 10 s. At most 12 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().hibernate_after(Duration::from_secs(60)).start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(70)); // flushed after 5 s, and nothing came since
    /// assert!(views.stats().hibernating);
    /// views.add("/home", 1)?; // wakes it
    /// clock.advance(Duration::ZERO);
    /// assert!(!views.stats().hibernating);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hibernate_after(mut self, idle: Duration) -> Self {
        self.settings.schedule.hibernate_after = idle;
        self
    }
}
