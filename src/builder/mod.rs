//! How a buffer is set up.

mod limits;
mod schedule;
mod start;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::buffer::Buffer;
use crate::driver::clock::Clock;
#[cfg(feature = "test-util")]
use crate::driver::clock::ManualClock;
use crate::hasher::RandomState;
use crate::interval::IntervalPolicy;
#[cfg(feature = "journal")]
use crate::journal::Journal;
use crate::key::Key;
use crate::observer::Observer;
use crate::settings::Settings;

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
    #[cfg(feature = "test-util")]
    stages_always: bool,
    #[cfg(feature = "journal")]
    journal: Option<Journal<K, V>>,
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
        Builder::from_settings(Settings::default())
    }

    /// With all plain settings at once, as read from a file. What is not plain data (hasher, observers,
    /// interval policy, clock) is at its default; builder methods change one or the other.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Builder, Settings, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let mut settings = Settings::default(); // or read from a file, with the feature `serde`
    /// settings.bounds.max_keys = 10_000;
    /// let views = Builder::from_settings(settings).interval(Duration::from_secs(1)).start(store)?;
    /// assert_eq!(views.stats().max_keys, 10_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_settings(settings: Settings) -> Self {
        Builder {
            settings,
            hasher: RandomState::default(),
            clock: Clock::system(),
            observers: Vec::new(),
            interval_policy: None,
            #[cfg(feature = "test-util")]
            stages_always: false,
            #[cfg(feature = "journal")]
            journal: None,
            #[cfg(feature = "tokio")]
            runtime: None,
            kind: PhantomData,
        }
    }
}

impl<K, V> Buffer<K, V> {
    /// Settings for a new buffer, all at their defaults.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views: SummingBuffer<String, i64> = Buffer::builder().interval(Duration::from_secs(1)).start(store)?;
    /// # views.add("/home", 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder<K, V>
    where
        K: Key,
        V: Aggregate,
    {
        Builder::new()
    }
}

impl<K, V, S> Builder<K, V, S> {
    /// The buffer's name in observer events and errors. Default: `write-behind`. Any text.
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
            #[cfg(feature = "test-util")]
            stages_always: self.stages_always,
            #[cfg(feature = "journal")]
            journal: self.journal,
            #[cfg(feature = "tokio")]
            runtime: self.runtime,
            kind: self.kind,
        }
    }

    /// Keeps what is accepted in a file, so that it survives a crash and still counts once. Default: none. Feature
    /// `journal`, which needs Rust 1.90.
    ///
    /// `start` then reads what an earlier life has left in the file: batches are sent again, first and at once, under the ids
    /// and with the content that they had; everything else is pending, with a deadline drawn anew. What is found is
    /// taken in whole, beyond [`max_keys`](Self::max_keys) and [`max_weight`](Self::max_weight) too: then there is no room
    /// for more until enough of it is flushed. [`Buffer::recovered`] says what it was.
    ///
    /// The sink should be one that [counts each batch once](crate::exactly_once). With one that records no ids, what was in
    /// flight when the process died, or was flushed in the last [window](Journal::window), counts twice.
    ///
    /// The journal has a thread of its own, which sleeps while nothing changes. What it promises and how it works: the
    /// [module](crate::journal).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::journal::Journal;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let views = Buffer::builder().journal(Journal::at(path)).start(store)?;
    /// println!("{:?}", views.recovered()); // what was left by the process before this one
    /// views.add("/home", 1)?; // survives a crash 50 ms later
    /// views.add_durable("/home", 1)?; // survives one from here on
    /// views.shutdown(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "journal")]
    pub fn journal(mut self, journal: Journal<K, V>) -> Self {
        self.journal = Some(journal);
        self
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

    /// Keeps every key in the lanes of the threads that insert into it, whether they contend for it or not, if its
    /// aggregate can be ([the guide](crate::guide::hot_keys)): so that a test sees what else only many threads see. Default:
    /// what threads contend for. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().stage_always().start_inline(store, &clock)?;
    /// (0..100).try_for_each(|_| views.add("/home", 1))?;
    /// assert_eq!(views.total("/home"), Some(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "test-util")]
    pub fn stage_always(mut self) -> Self {
        self.stages_always = true;
        self
    }
}
