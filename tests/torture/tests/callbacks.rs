//! Callbacks panic (10 %), call their own buffer (10 %) and hang (1 %): the sum of each key is what was inserted.
//!
//! `WRITE_BEHIND_FLUSHES` says how many flushes (default 3 000 with each driver).

#[path = "support/chance.rs"]
mod chance;
#[path = "support/totals.rs"]
mod totals;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use chance::{Random, from_environment, seed};
use totals::Totals;
use write_behind::FlushEvent;
use write_behind::{
    AsyncDataBuffer, Buffer, Builder, DataBuffer, DeadLetter, FlushContext, FlushError, Observer,
    RetryPolicy, ShutdownError, Sum, SummingBuffer, Verdict, WeakBuffer,
};

const KEYS: u64 = 512;
const LONG: Duration = Duration::from_secs(600);
/// How long a callback hangs that cannot be cancelled.
const HANG: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
enum Turn {
    Panics { when_applied: bool },
    ReEnters(u64),
    Hangs,
    Fails,
    IsHopeless,
    Works,
}

struct Wild {
    buffer: WeakBuffer<u64, Sum<i64>>,
    totals: Arc<Totals>,
    /// What it has inserted itself.
    own: Arc<Totals>,
    turns: AtomicU64,
    seed: u64,
}

impl Wild {
    fn turn(&self) -> Turn {
        let mut random = Random(self.seed ^ self.turns.fetch_add(1, Ordering::Relaxed));
        match random.below(100) {
            0..10 => Turn::Panics { when_applied: random.below(2) == 0 },
            10..20 => Turn::ReEnters(random.next()),
            20 => Turn::Hangs,
            21..24 => Turn::Fails,
            24 => Turn::IsHopeless,
            _ => Turn::Works,
        }
    }

    fn apply(&self, key: u64, data: &Sum<i64>, context: &FlushContext) {
        self.totals.apply(context.id(), context.settled_below(), [(key, data.0)].into_iter());
    }

    /// Whatever it calls returns, and what has to wait for itself is an error.
    fn re_enter(&self, key: u64, choice: u64) {
        let Some(buffer) = self.buffer.upgrade() else { return };
        let other = (choice >> 8) % KEYS;
        match choice % 8 {
            0 | 1 => {
                if buffer.add(&other, 1).is_ok() {
                    self.own.add(other, 1);
                }
            }
            2 => assert!(buffer.flush_and_wait(&key, LONG).is_err()),
            3 => assert!(buffer.flush_all_and_wait(LONG).is_err()),
            4 => drop((buffer.peek(&key), buffer.count(&other), buffer.contains(&other))),
            5 => {
                let removed: i64 = buffer.remove(&other).iter().map(|data| data.0).sum();
                self.totals.add(other, removed);
            }
            6 => buffer.flush(&other),
            _ => drop((buffer.stats(), buffer.keys(), buffer.retry_undelivered())),
        }
    }

    /// What it does before it answers, but for hanging.
    fn act(&self, turn: Turn, key: u64, data: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
        match turn {
            Turn::Panics { when_applied } => {
                if when_applied {
                    self.apply(key, data, context);
                }
                panic!("the sink panics");
            }
            Turn::Fails => return Err(FlushError::unknown("lost")),
            Turn::IsHopeless => return Err(FlushError::unknown("hopeless").give_up()),
            Turn::ReEnters(choice) => self.re_enter(key, choice),
            Turn::Hangs | Turn::Works => {}
        }
        self.apply(key, data, context);
        Ok(())
    }

    fn give_up(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        match self.turn() {
            Turn::Panics { .. } => panic!("the sink panics"),
            Turn::ReEnters(choice) => self.re_enter(*letter.key(), choice),
            Turn::Fails => return Verdict::Requeue(letter),
            _ => {}
        }
        Verdict::Keep(letter)
    }
}

impl DataBuffer<u64, Sum<i64>> for Wild {
    fn handle_flush(&self, key: &u64, data: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
        let turn = self.turn();
        if matches!(turn, Turn::Hangs) {
            thread::park_timeout(HANG);
        }
        self.act(turn, *key, data, context)
    }

    fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        self.give_up(letter)
    }
}

impl AsyncDataBuffer<u64, Sum<i64>> for Wild {
    async fn handle_flush(
        &self,
        key: &u64,
        data: &Sum<i64>,
        context: &FlushContext,
    ) -> Result<(), FlushError> {
        let turn = self.turn();
        if matches!(turn, Turn::Hangs) {
            // Until it is cancelled; every other time it is applied by then.
            if context.id().sequence.is_multiple_of(2) {
                self.apply(*key, data, context);
            }
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.act(turn, *key, data, context)
    }

    async fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        tokio::task::yield_now().await;
        self.give_up(letter)
    }
}

/// An observer that panics, too.
struct Startled(AtomicU64);

impl Observer for Startled {
    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, _: &write_behind::FailureCause, _: Duration) {
        assert!(!self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(10), "the observer panics");
    }
}

fn builder() -> Builder<u64, Sum<i64>> {
    Buffer::builder()
        .interval(Duration::from_millis(2))
        .jitter(Duration::from_millis(1))
        .flush_concurrency(8)
        .flush_timeout(Duration::from_millis(10))
        .retry(RetryPolicy::new().delay(Duration::from_millis(1)).cap(Duration::from_millis(4)))
        .observer(Startled(AtomicU64::new(0)))
        .seed(seed())
}

/// Panics are part of it; what they say is not.
fn be_quiet() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let expected = ["the sink panics", "the observer panics"];
        if !panic.payload().downcast_ref::<&str>().is_some_and(|said| expected.contains(said)) {
            tell(panic);
        }
    }));
}

fn run(
    name: &str,
    start: impl FnOnce(&dyn Fn(WeakBuffer<u64, Sum<i64>>) -> Wild) -> SummingBuffer<u64, i64>,
    shutdown: impl FnOnce(&SummingBuffer<u64, i64>) -> Result<(), ShutdownError<u64, Sum<i64>>>,
) {
    be_quiet();
    let least = from_environment("WRITE_BEHIND_FLUSHES", 3_000);
    let (totals, own) = (Arc::new(Totals::new(KEYS as usize)), Arc::new(Totals::new(KEYS as usize)));
    let buffer = start(&|buffer| {
        let (totals, own) = (Arc::clone(&totals), Arc::clone(&own));
        Wild { buffer, totals, own, turns: AtomicU64::new(0), seed: seed() }
    });
    let mut random = Random(seed());
    let mut inserted = vec![0; KEYS as usize];
    while buffer.stats().flushes < least {
        for _ in 0..KEYS {
            let (key, amount) = (random.below(KEYS), random.below(1_000) as i64);
            buffer.add(&key, amount).unwrap();
            inserted[key as usize] += amount;
        }
        let held = buffer.stats();
        assert_eq!(held.balance(), 0, "{held:?}");
        thread::yield_now();
        buffer.retry_undelivered();
    }
    let left = shutdown(&buffer).err().map(ShutdownError::into_undelivered).unwrap_or_default();
    for undelivered in left {
        let is_applied = undelivered.batch().is_some_and(|id| totals.is_applied(id));
        if !is_applied {
            totals.add(*undelivered.key(), undelivered.data().0);
        }
    }
    let stats = buffer.stats();
    assert_eq!((stats.balance(), stats.pending, stats.in_flight), (0, 0, 0), "{stats:?}");
    inserted.iter_mut().zip(own.all()).for_each(|(sum, amount)| *sum += amount);
    assert!(totals.all() == inserted, "{name}: the sums differ: {stats:?}");
    assert!(stats.panics > least / 50 && stats.overdue > 0, "{stats:?}");
    println!(
        "counted: {} flushes; {name}: {} panics, {} overdue",
        stats.flushes, stats.panics, stats.overdue
    );
}

#[test]
fn on_threads_they_cost_nothing_but_time() {
    let start = |make: &dyn Fn(WeakBuffer<u64, Sum<i64>>) -> Wild| builder().start_cyclic(make).unwrap();
    run("threads", start, |buffer| buffer.shutdown(LONG).map(drop));
}

#[test]
fn on_tasks_they_cost_nothing_but_time() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let start = |make: &dyn Fn(WeakBuffer<u64, Sum<i64>>) -> Wild| {
        builder().runtime(runtime.handle().clone()).start_async_cyclic(make).unwrap()
    };
    run("tasks", start, |buffer| runtime.block_on(buffer.shutdown_async(LONG)).map(drop));
}
