//! How a buffer is set up.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::Aggregate;
use crate::buffer::{Buffer, WeakBuffer};
use crate::driver::clock::Clock;
#[cfg(feature = "test-util")]
use crate::driver::clock::{Listener, ManualClock};
use crate::driver::core::Core;
use crate::driver::core::Driver;
#[cfg(feature = "tokio")]
use crate::driver::run::tasks;
use crate::driver::run::threads;
use crate::driver::user::callbacks::Callbacks;
use crate::driver::wait::life::Phase;
use crate::engine::retry::RetryPolicy;
use crate::error::BuildError;
use crate::interval::IntervalPolicy;
#[cfg(feature = "tokio")]
use crate::into_sink::IntoAsyncSink;
use crate::into_sink::{Erased, IntoSink};
use crate::key::Key;
use crate::observer::Observer;
use crate::settings::{CountStep, Overflow, Settings};

/// The default hasher: foldhash, seeded at random for each buffer.
///
/// Fast, and hard to attack without knowing the seed, but not cryptographic. If strangers choose
/// the keys and can measure you, set [`Builder::hasher`] to `std::hash::RandomState`.
///
/// ```
/// use std::hash::BuildHasher;
/// use write_behind::RandomState;
///
/// let (one, other) = (RandomState::default(), RandomState::default());
/// assert_eq!(one.hash_one("key"), one.hash_one("key"));
/// assert_ne!(one.hash_one("key"), other.hash_one("key")); // seeded apart
/// ```
#[derive(Debug, Clone, Default)]
pub struct RandomState(hashbrown::DefaultHashBuilder);

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    #[inline]
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher(self.0.build_hasher())
    }
}

/// The hasher of [`RandomState`].
#[derive(Clone)]
pub struct DefaultHasher(<hashbrown::DefaultHashBuilder as BuildHasher>::Hasher);

impl fmt::Debug for DefaultHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultHasher")
    }
}

macro_rules! forward_writes {
    ($($write:ident($written:ty))+) => {$(
        #[inline]
        fn $write(&mut self, written: $written) {
            self.0.$write(written);
        }
    )+};
}

impl Hasher for DefaultHasher {
    forward_writes! {
        write(&[u8])
        write_u8(u8) write_u16(u16) write_u32(u32) write_u64(u64) write_u128(u128) write_usize(usize)
        write_i8(i8) write_i16(i16) write_i32(i32) write_i64(i64) write_i128(i128) write_isize(isize)
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The settings of a new buffer. Each method's doc states its default; `start` checks them all.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Overflow};
/// # fn write_log(_: &String, _: &Vec<String>) -> std::io::Result<()> { Ok(()) }
///
/// let buffer = Buffer::builder()
///     .interval(Duration::from_secs(5))
///     .jitter(Duration::from_secs(1))
///     .overflow(Overflow::Block { timeout: Duration::from_millis(200) })
///     .start(write_log)?;
/// # buffer.insert("ada".into(), "login".into())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct Builder<K, V, S = RandomState> {
    settings: Settings,
    hasher: S,
    clock: Clock,
    observers: Vec<Arc<dyn Observer>>,
    interval_policy: Option<Box<dyn IntervalPolicy<K, V>>>,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
    kind: PhantomData<fn(K, V)>,
}

impl<K, V, S> fmt::Debug for Builder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.settings).finish_non_exhaustive()
    }
}

impl<K, V> Default for Builder<K, V> {
    fn default() -> Self {
        Builder::new()
    }
}

impl<K, V> Builder<K, V> {
    /// All settings at their defaults.
    ///
    /// ```
    /// use write_behind::{Builder, Sum};
    ///
    /// let builder = Builder::<String, Sum<i64>>::new(); // as `Buffer::builder` makes one
    /// # let _ = builder;
    /// ```
    pub fn new() -> Self {
        Builder {
            settings: Settings::default(),
            hasher: RandomState::default(),
            clock: Clock::system(),
            observers: Vec::new(),
            interval_policy: None,
            #[cfg(feature = "tokio")]
            runtime: None,
            kind: PhantomData,
        }
    }
}

impl<K, V, S> Builder<K, V, S> {
    /// Takes all plain settings at once, as read from a file, in place of those given so far. What is not
    /// plain data (hasher, observers, interval policy, clock) stays.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Settings, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let mut settings = Settings::default(); // or read from a file, with the feature `serde`
    /// settings.bounds.max_keys = 10_000;
    /// let views = Buffer::builder()
    ///     .settings(settings)
    ///     .interval(Duration::from_secs(1)) // after it, or it would be replaced
    ///     .start(store)?;
    /// assert_eq!(views.stats().max_keys, 10_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

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

    /// How many callbacks run at once at most, each on a thread of its own that exists only while
    /// there is work; with an async sink, each in a task. Default: 4. From 1 to 1 024. Up to as many
    /// batches again wait ready-made, and 16 times as many keys for a sink that writes key by key.
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

    /// How much all data may weigh together ([`Aggregate::weight`]), in flight and retrying
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

    /// After this time without any data the buffer goes to rest: its workers exit, its tables are
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

    /// **What is not delivered within this time is lost** when the last handle is dropped, and told to observers.
    /// [`Buffer::shutdown`] returns it instead.
    ///
    /// How long the drop of the last handle waits for the flush of what is left, or, where it does not
    /// wait itself ([`Buffer`]), how long the buffer goes on for it. Default: 5 s. Zero delivers nothing
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

    /// The buffer's name in observer events and thread names. Default: `write-behind`.
    /// Any text without a null character.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().name("page-views").start(store)?;
    /// assert_eq!(format!("{views:?}"), r#"Buffer { name: "page-views", .. }"#);
    /// # views.increment("/home")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Adds an observer. May be called several times. Default: none.
    ///
    /// ```
    /// use write_behind::{Buffer, FailureCause, Observer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// struct Alarm;
    ///
    /// impl Observer for Alarm {
    ///     fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
    ///         eprintln!("{buffer}: {inserts} inserts not stored after {attempts} attempts: {cause}");
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().observer(Alarm).start(store)?;
    /// # views.increment("/home")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The hasher for keys. Default: [`RandomState`]. Both halves of its 64 bits must be good: the
    /// high one chooses the partition, the low one the place in it.
    ///
    /// ```
    /// use std::hash::RandomState;
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// // SipHash: for keys that strangers choose.
    /// let views: SummingBuffer<String, i64, RandomState> = Buffer::builder().hasher(RandomState::new()).start(store)?;
    /// # views.increment("/home")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hasher<H>(self, hasher: H) -> Builder<K, V, H> {
        Builder {
            settings: self.settings,
            hasher,
            clock: self.clock,
            observers: self.observers,
            interval_policy: self.interval_policy,
            #[cfg(feature = "tokio")]
            runtime: self.runtime,
            kind: self.kind,
        }
    }

    /// Seeds all randomness (jitter and backoff jitter, not the hasher) for tests that must run the
    /// same way every time. Default: random.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let flushed_after_a_second_and_a_half = || -> Result<u64, Box<dyn std::error::Error>> {
    ///     let clock = ManualClock::new();
    ///     let second = Duration::from_secs(1);
    ///     let builder = Buffer::builder().partitions(1).interval(second).jitter(second).seed(7);
    ///     let views = builder.start_inline(store, &clock)?;
    ///     for page in 0..100 {
    ///         views.increment(&format!("/{page}"))?;
    ///     }
    ///     clock.advance(second * 3 / 2);
    ///     Ok(views.stats().flushed)
    /// };
    /// assert_eq!(flushed_after_a_second_and_a_half()?, flushed_after_a_second_and_a_half()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// The runtime on which an async sink runs. Default: the one in which
    /// [`start_async`](Self::start_async) is called. A blocking sink needs none. Feature `tokio`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// #
    /// # struct Totals;
    /// #
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         println!("{page}: {}", views.0);
    /// #         Ok(())
    /// #     }
    /// # }
    ///
    /// // For sinks alone, so that they do not wait for the service's tasks, nor those for them.
    /// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    /// let views = Buffer::builder().runtime(runtime.handle().clone()).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.shutdown(Duration::from_secs(10))?; // blocking is fine here: this is no thread of a runtime
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tokio")]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Reads the time from `clock` instead of the system's monotonic clock. Feature `test-util`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().interval(Duration::from_secs(3_600)).clock(&clock).start(store)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(3_600)); // a worker flushes it now
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Builder<K, V, S> {
    /// Starts the buffer with one scheduler thread; workers follow when there is work.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {}", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().start(Totals)?;
    /// views.add("/home", 1)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] names an option with an impossible value; [`BuildError::Thread`] if
    /// the thread could not be started.
    pub fn start<Kind>(self, sink: impl IntoSink<K, V, Kind>) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_cyclic(|_| sink)
    }

    /// As [`start`](Self::start), for a sink that needs to reach its own buffer: `make_sink` gets a
    /// weak handle to it, which can be upgraded once the buffer runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Sum, WeakBuffer};
    ///
    /// struct Totals {
    ///     own: WeakBuffer<String, Sum<i64>>,
    /// }
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         // None while the buffer is being made and when its last handle is gone.
    ///         let newer = self.own.upgrade().map_or(0, |own| own.count(page).pending);
    ///         println!("{page}: {}, and {newer} inserts since", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().start_cyclic(|own| Totals { own })?;
    /// views.add("/home", 1)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_cyclic<D, F, Kind>(self, make_sink: F) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let buffer = self.assemble(|weak| make_sink(weak).erase(), Driver::Threads)?;
        let core = buffer.core();
        #[cfg(feature = "test-util")]
        listen(core);
        if let Err(error) = threads::start(core) {
            core.life.enter(Phase::Closed);
            return Err(BuildError::Thread(error));
        }
        Ok(buffer)
    }

    /// Starts the buffer with an async sink: one scheduler task on the runtime, and a task for each
    /// batch while it is being flushed. Feature `tokio`.
    ///
    /// The buffer's time is the runtime's: in a test with `start_paused` it stands still and jumps with
    /// it. Should the runtime shut down before the buffer does, the buffer closes and what was not
    /// flushed is handed back by [`Buffer::shutdown`], or reported to the observers when the last
    /// handle is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {}", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let views = Buffer::builder().start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.shutdown_async(Duration::from_secs(10)).await?; // or the end of the program loses it
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] names an option with an impossible value; [`BuildError::Runtime`] if
    /// this is called outside a runtime and none is [given](Self::runtime), or if that one has no
    /// timer or has been shut down.
    #[cfg(feature = "tokio")]
    pub fn start_async<Kind>(
        self,
        sink: impl IntoAsyncSink<K, V, Kind>,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_async_cyclic(|_| sink)
    }

    /// [`start_async`](Self::start_async) for a sink that needs to reach its own buffer. Feature
    /// `tokio`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum, WeakBuffer};
    ///
    /// struct Totals {
    ///     own: WeakBuffer<String, Sum<i64>>,
    /// }
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         let waiting = self.own.upgrade().map_or(0, |own| own.stats().pending);
    ///         println!("{page}: {}; {waiting} inserts are waiting", views.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let views = Buffer::builder().start_async_cyclic(|own| Totals { own })?;
    /// views.add("/home", 1)?;
    /// views.shutdown_async(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start_async`](Self::start_async).
    #[cfg(feature = "tokio")]
    pub fn start_async_cyclic<D, F, Kind>(mut self, make_sink: F) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoAsyncSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let given = self.runtime.take().ok_or(());
        let runtime = given.or_else(|()| tokio::runtime::Handle::try_current()).map_err(|_| {
            BuildError::Runtime("start_async was called outside of one and Builder::runtime gave none")
        })?;
        tasks::check(&runtime)?;
        if let Clock::System(_) = self.clock {
            self.clock = Clock::of_runtime(&runtime);
        }
        let make_sink = |weak| make_sink(weak).erase();
        let buffer = self.assemble(make_sink, Driver::Runtime)?;
        #[cfg(feature = "test-util")]
        listen(buffer.core());
        tasks::start(buffer.core(), &runtime)?;
        Ok(buffer)
    }

    /// Starts the buffer without any threads, for tests: its work is done inside
    /// [`ManualClock::advance`] and inside calls that wait, on the calling thread. A call that waits
    /// lets time pass by itself. Meant for one thread. It runs the same way every time, given
    /// [`seed`](Self::seed) and, for the order across keys, a [`hasher`](Self::hasher) that is not
    /// seeded at random. Feature `test-util`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5)); // calls `store`
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), but for the thread.
    #[cfg(feature = "test-util")]
    pub fn start_inline<Kind>(
        self,
        sink: impl IntoSink<K, V, Kind>,
        clock: &ManualClock,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        self.start_inline_cyclic(|_| sink, clock)
    }

    /// [`start_inline`](Self::start_inline) for a sink that needs to reach its own buffer. Feature
    /// `test-util`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    ///
    /// let clock = ManualClock::new();
    /// let make_sink = |own: write_behind::WeakBuffer<String, Sum<i64>>| {
    ///     move |page: &String, _: &Sum<i64>| {
    ///         let own = own.upgrade().ok_or("it is being dropped")?;
    ///         println!("{page}: {} inserts are waiting", own.stats().pending);
    ///         Ok::<(), &str>(())
    ///     }
    /// };
    /// let views = Buffer::builder().start_inline_cyclic(make_sink, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start_inline`](Self::start_inline).
    #[cfg(feature = "test-util")]
    pub fn start_inline_cyclic<D, F, Kind>(
        self,
        make_sink: F,
        clock: &ManualClock,
    ) -> Result<Buffer<K, V, S>, BuildError>
    where
        D: IntoSink<K, V, Kind>,
        F: FnOnce(WeakBuffer<K, V, S>) -> D,
    {
        let make_sink = |weak| make_sink(weak).erase();
        let buffer = self.clock(clock).assemble(make_sink, Driver::Inline)?;
        listen(buffer.core());
        Ok(buffer)
    }

    fn assemble(
        self,
        make_sink: impl FnOnce(WeakBuffer<K, V, S>) -> Erased<K, V>,
        driver: Driver,
    ) -> Result<Buffer<K, V, S>, BuildError> {
        let Builder { settings, hasher, clock, observers, interval_policy, .. } = self;
        settings.validate()?;
        // The standard library's hasher is seeded by the system.
        let instance = std::hash::RandomState::new().hash_one("instance");
        Ok(Buffer::cyclic(|weak| {
            let callbacks = Callbacks::new(instance, make_sink(weak).0, observers, interval_policy);
            Core::new(settings, clock, hasher, callbacks, instance, driver)
        }))
    }
}

/// Has a manual clock tell the buffer when time moves.
#[cfg(feature = "test-util")]
fn listen<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static>(core: &Arc<Core<K, V, S>>) {
    if let Clock::Manual(clock) = &core.clock {
        let listener: Arc<dyn Listener> = Arc::clone(core) as Arc<dyn Listener>;
        clock.listen(Arc::downgrade(&listener));
    }
}
