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
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The longest time that data stays before it is flushed, counted from the first insert of its
    /// generation. Default: 5 s. Resolution: 1 ms, rounded up. From more than zero to 12 days.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.schedule.interval = interval;
        self
    }

    /// The upper end of a uniformly random time that is added to each generation's interval, so
    /// that keys that began together do not flush together. Default: zero. Interval and jitter
    /// together at most 12 days.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.settings.schedule.jitter = jitter;
        self
    }

    /// Has `policy` decide for each generation how long it may stay; [`interval`](Self::interval) is
    /// the longest that it can choose, and [`jitter`](Self::jitter) is added. Default: none, every
    /// generation may stay for the interval. The policy is asked once per generation, under the lock
    /// of the key's partition: see [`IntervalPolicy`] for what it must not do, and what happens if it
    /// panics.
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
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.settings.partitions = partitions;
        self
    }

    /// How many keys a batch holds at most, for sinks that write batches. Default: 1 000. At least 1.
    pub fn max_batch_keys(mut self, keys: usize) -> Self {
        self.settings.flushing.max_batch_keys = keys;
        self
    }

    /// How many callbacks run at once at most, each on a thread of its own that exists only while
    /// there is work; with an async sink, each in a task. Default: 4. From 1 to 1 024. Up to as many
    /// batches again wait ready-made, and 16 times as many keys for a sink that writes key by key.
    pub fn flush_concurrency(mut self, threads: usize) -> Self {
        self.settings.flushing.concurrency = threads;
        self
    }

    /// After this time a running callback is reported as overdue (observer and
    /// [`Stats::overdue`](crate::Stats::overdue)). A thread cannot be cancelled: the callback goes on,
    /// its keys stay in flight, and its result counts when it comes. An async callback is cancelled,
    /// which counts as a failure of unknown outcome. Default: 30 s. More than zero.
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.settings.flushing.timeout = timeout;
        self
    }

    /// How failed flushes are tried again. Default: without end, 1 s apart at first and 30 s in the end.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry;
        self
    }

    /// How many different keys may hold data, in flight and retrying included. Default: 1 000 000.
    /// At least 1.
    pub fn max_keys(mut self, keys: u64) -> Self {
        self.settings.bounds.max_keys = keys;
        self
    }

    /// How much all data may weigh together ([`Aggregate::weight`]), in flight and retrying
    /// included. Default: 10 000 000: as many list items, or sums. At least 1.
    pub fn max_weight(mut self, weight: u64) -> Self {
        self.settings.bounds.max_weight = weight;
        self
    }

    /// What an insert does when the buffer is full. Default: [`Overflow::Reject`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.bounds.overflow = overflow;
        self
    }

    /// After this time without any data the buffer goes to rest: its workers exit, its tables are
    /// given back, and nothing wakes up until the next insert. Default: 10 s. At most 12 days.
    pub fn hibernate_after(mut self, idle: Duration) -> Self {
        self.settings.schedule.hibernate_after = idle;
        self
    }

    /// How long the drop of the last handle waits for the flush of what is left, or, where it does not
    /// wait itself ([`Buffer`]), how long the buffer goes on for it. Default: 5 s. Zero delivers nothing
    /// more.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drop_timeout = timeout;
        self
    }

    /// The buffer's name in observer events and thread names. Default: `write-behind`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Adds an observer. May be called several times. Default: none.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The hasher for keys. Default: [`RandomState`]. Both halves of its 64 bits must be good: the
    /// high one chooses the partition, the low one the place in it.
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
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// The runtime on which an async sink runs. Default: the one in which
    /// [`start_async`](Self::start_async) is called. A blocking sink needs none. Feature `tokio`.
    #[cfg(feature = "tokio")]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Reads the time from `clock` instead of the system's monotonic clock. Feature `test-util`.
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Builder<K, V, S> {
    /// Starts the buffer with one scheduler thread; workers follow when there is work.
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
