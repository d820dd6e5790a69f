use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use write_behind::{
    Aggregate, Buffer, BuildError, Builder, Equivalent, FlushWaitError, IntoAsyncSink, IntoSink, Key,
    ManualClock, RetryPolicy, ShutdownError, ShutdownReport, WeakBuffer,
};

use super::clock::{Paused, TestClock};
use super::journaled::journaled;
use super::script::{Batches, Keys, Script};

/// How long to wait for something that must happen.
const GENEROUS: Duration = Duration::from_secs(300);

/// Who does a buffer's work. Every scenario of the contract runs with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `Builder::start`: threads, on the manual clock.
    Threads,
    /// `Builder::start_inline`: nobody but the caller.
    Inline,
    /// `Builder::start_async`: tasks of a runtime, on its paused time.
    Tasks,
}

impl Driver {
    pub(crate) fn clock(self) -> TestClock {
        match self {
            Driver::Threads | Driver::Inline => TestClock::Manual(ManualClock::new()),
            Driver::Tasks => TestClock::Paused(Arc::new(Paused::start())),
        }
    }

    /// What has happened, or, if tasks do it, what will happen soon though nobody waits for it.
    pub(crate) fn eventually(self, what: &str, done: impl Fn() -> bool) {
        let limit = Instant::now() + GENEROUS;
        while !done() {
            assert!(self == Driver::Tasks && Instant::now() < limit, "never happened: {what}");
            std::thread::yield_now();
        }
    }

    /// Starts a buffer on that clock. The one place that knows how a driver is started.
    pub(crate) fn start<K: Key, V: Aggregate, D, Blocking, Async>(
        self,
        builder: Builder<K, V>,
        clock: &TestClock,
        make_sink: impl FnOnce(WeakBuffer<K, V>) -> D,
    ) -> Result<TestBuffer<K, V>, BuildError>
    where
        D: IntoSink<K, V, Blocking> + IntoAsyncSink<K, V, Async>,
    {
        let buffer = match clock {
            TestClock::Manual(clock) if self == Driver::Inline => {
                builder.start_inline_cyclic(make_sink, clock)
            }
            TestClock::Manual(clock) => builder.clock(clock).start_cyclic(make_sink),
            TestClock::Paused(paused) => {
                builder.runtime(paused.runtime().clone()).start_async_cyclic(make_sink)
            }
        };
        Ok(TestBuffer { buffer: buffer?, clock: clock.clone() })
    }
}

/// A buffer whose waiting calls are made as one would with its driver: with an async sink, by their
/// async counterparts.
pub(crate) struct TestBuffer<K, V> {
    buffer: Buffer<K, V>,
    clock: TestClock,
}

impl<K, V> Clone for TestBuffer<K, V> {
    fn clone(&self) -> Self {
        TestBuffer { buffer: self.buffer.clone(), clock: self.clock.clone() }
    }
}

impl<K, V> Deref for TestBuffer<K, V> {
    type Target = Buffer<K, V>;

    fn deref(&self) -> &Buffer<K, V> {
        &self.buffer
    }
}

impl<K: Key, V: Aggregate> TestBuffer<K, V> {
    pub(crate) fn flush_and_wait<Q>(&self, key: &Q, timeout: Duration) -> Result<(), FlushWaitError>
    where
        Q: ?Sized + Hash + Equivalent<K>,
    {
        match &self.clock {
            TestClock::Manual(_) => self.buffer.flush_and_wait(key, timeout),
            TestClock::Paused(paused) => {
                paused.runtime().block_on(self.buffer.flush_and_wait_async(key, timeout))
            }
        }
    }

    pub(crate) fn flush_all_and_wait(&self, timeout: Duration) -> Result<(), FlushWaitError> {
        match &self.clock {
            TestClock::Manual(_) => self.buffer.flush_all_and_wait(timeout),
            TestClock::Paused(paused) => {
                paused.runtime().block_on(self.buffer.flush_all_and_wait_async(timeout))
            }
        }
    }

    pub(crate) fn shutdown(&self, timeout: Duration) -> Result<ShutdownReport, ShutdownError<K, V>> {
        match &self.clock {
            TestClock::Manual(_) => self.buffer.shutdown(timeout),
            TestClock::Paused(paused) => paused.runtime().block_on(self.buffer.shutdown_async(timeout)),
        }
    }
}

/// A running buffer with a clock of the test's own and a scripted sink.
pub(crate) struct Rig<K, V> {
    pub(crate) driver: Driver,
    pub(crate) buffer: TestBuffer<K, V>,
    pub(crate) clock: TestClock,
    pub(crate) sink: Script<K, V>,
}

impl<K: Key, V: Aggregate + Clone> Rig<K, V> {
    /// With a sink that acknowledges everything.
    pub(crate) fn start(driver: Driver, configure: impl FnOnce(Builder<K, V>) -> Builder<K, V>) -> Self {
        Rig::with(driver, Script::accepting(), configure)
    }

    pub(crate) fn with(
        driver: Driver,
        sink: Script<K, V>,
        configure: impl FnOnce(Builder<K, V>) -> Builder<K, V>,
    ) -> Self {
        Rig::try_with(driver, sink, configure).expect("the settings are good")
    }

    pub(crate) fn try_with(
        driver: Driver,
        sink: Script<K, V>,
        configure: impl FnOnce(Builder<K, V>) -> Builder<K, V>,
    ) -> Result<Self, BuildError> {
        let clock = driver.clock();
        // The clock may have stopped when the rig is dropped.
        let retry = steady().attempts(4);
        // One partition, so that `flush_all` makes all keys due at one instant, whoever takes a step meanwhile.
        let builder = Buffer::builder().seed(7).partitions(1).drop_timeout(Duration::ZERO).retry(retry);
        let builder = staged(journaled(configure(builder)));
        let played = sink.clone();
        let install = |weak: WeakBuffer<K, V>| {
            played.install(weak, clock.clone());
            played
        };
        let buffer = if sink.asks_key_by_key() {
            driver.start(builder, &clock, |weak| Keys(install(weak)))
        } else {
            driver.start(builder, &clock, |weak| Batches(install(weak)))
        };
        Ok(Rig { driver, buffer: buffer?, clock, sink })
    }

    pub(crate) fn insert(&self, key: K, item: V::Item) {
        self.buffer.insert(key, item).expect("the insert is accepted");
    }

    /// Moves the time on.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Waits until `done`, without the time moving.
    pub(crate) fn eventually(&self, what: &str, done: impl Fn() -> bool) {
        self.wait(what, Duration::ZERO, done);
    }

    /// Lets time pass, in small steps, until `done`.
    pub(crate) fn pass_time_until(&self, what: &str, done: impl Fn() -> bool) {
        self.wait(what, ms(50), done);
    }

    /// Makes a call that waits, and lets time pass meanwhile.
    pub(crate) fn while_time_passes<T: Send>(&self, call: impl FnOnce(&TestBuffer<K, V>) -> T + Send) -> T {
        if self.driver == Driver::Inline {
            return call(&self.buffer);
        }
        std::thread::scope(|scope| {
            let calling = scope.spawn(|| call(&self.buffer));
            self.pass_time_until("the call returns", || calling.is_finished());
            calling.join().expect("the call does not panic")
        })
    }

    fn wait(&self, what: &str, step: Duration, done: impl Fn() -> bool) {
        let limit = Instant::now() + GENEROUS;
        self.clock.advance(Duration::ZERO);
        while !done() {
            assert!(Instant::now() < limit, "never happened: {what}");
            self.clock.advance(step);
            if self.driver != Driver::Inline {
                self.sink.await_news();
            }
        }
    }
}

/// With all keys in lanes that can be, if `WRITE_BEHIND_TEST_STAGING` is set: what the contract says holds there too.
fn staged<K: Key, V: Aggregate>(builder: Builder<K, V>) -> Builder<K, V> {
    if std::env::var_os("WRITE_BEHIND_TEST_STAGING").is_some() { builder.stage_always() } else { builder }
}

/// Retries without end, a second apart.
pub(crate) fn steady() -> RetryPolicy {
    RetryPolicy::new().factor(1.0).jitter(0.0)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
