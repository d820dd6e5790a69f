use std::time::{Duration, Instant};

use write_behind::{Aggregate, Buffer, Builder, DataBuffer, Key, ManualClock, WeakBuffer};

use super::script::{Batches, Keys, Script};

/// How long to wait for something that must happen.
const GENEROUS: Duration = Duration::from_secs(30);

/// Who does a buffer's work. Every scenario of the contract runs with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `Builder::start`: threads, on the manual clock.
    Threads,
    /// `Builder::start_inline`: nobody but the caller.
    Inline,
}

impl Driver {
    /// Starts a buffer on the manual clock. The one place that knows how a driver is started.
    pub(crate) fn start<K: Key, V: Aggregate, D: DataBuffer<K, V>>(
        self,
        builder: Builder<K, V>,
        clock: &ManualClock,
        make_sink: impl FnOnce(WeakBuffer<K, V>) -> D,
    ) -> Buffer<K, V> {
        let started = match self {
            Driver::Threads => builder.clock(clock).start_cyclic(make_sink),
            Driver::Inline => builder.start_inline_cyclic(make_sink, clock),
        };
        started.expect("the settings are good")
    }
}

/// A running buffer with a manual clock and a scripted sink.
pub(crate) struct Rig<K, V> {
    pub(crate) driver: Driver,
    pub(crate) buffer: Buffer<K, V>,
    pub(crate) clock: ManualClock,
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
        let clock = ManualClock::new();
        // The clock may have stopped when the rig is dropped.
        let builder = configure(Buffer::builder().seed(7).drop_timeout(Duration::ZERO));
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
        Rig { driver, buffer, clock, sink }
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
    pub(crate) fn while_time_passes<T: Send>(&self, call: impl FnOnce(&Buffer<K, V>) -> T + Send) -> T {
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
            if self.driver == Driver::Threads {
                self.sink.await_news();
            }
        }
    }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
