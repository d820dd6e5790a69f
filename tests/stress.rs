//! Real threads, real time and a sink that fails often: whatever was accepted comes out exactly once.
//! With a blocking sink on threads, and with an async one on a runtime, whose callbacks await and are
//! cancelled and whose waiting calls are the async counterparts.
//!
//! `WRITE_BEHIND_STRESS` sets how many inserts each producer makes (default 5 000). Also what
//! `scripts/tsan` runs.

#[path = "support/journaled.rs"]
mod journaled;
#[path = "stress/sink.rs"]
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use write_behind::{
    Aggregate, Buffer, InsertError, InsertErrorKind, Overflow, RetryPolicy, ShutdownError, Stats, Sum,
    Undelivered, UndeliveredState,
};

use sink::{CALLBACKS, Flaky, Out};

const PRODUCERS: u64 = 4;
const KEYS: u64 = 97;
const LONG: Duration = Duration::from_secs(120);

fn inserts() -> u64 {
    let inserts = std::env::var("WRITE_BEHIND_STRESS");
    inserts.map_or(5_000, |inserts| inserts.parse().expect("WRITE_BEHIND_STRESS is a number"))
}

/// Who does the buffer's work, and how calls that wait are made.
enum Driver {
    Threads,
    /// Tasks; the calls are made on this runtime.
    Tasks(Runtime),
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().expect("a runtime starts")
}

impl Driver {
    fn start<V: Aggregate + Clone>(&self, keeps: bool) -> (Buffer<u64, V>, Arc<Mutex<Out<V>>>) {
        let runtime = match self {
            Driver::Threads => None,
            Driver::Tasks(runtime) => Some(runtime),
        };
        self.start_on(runtime, keeps)
    }

    fn start_on<V: Aggregate + Clone>(
        &self,
        runtime: Option<&Runtime>,
        keeps: bool,
    ) -> (Buffer<u64, V>, Arc<Mutex<Out<V>>>) {
        let (sink, out) = Flaky::new(keeps);
        let builder = Buffer::builder()
            .interval(Duration::from_millis(2))
            .jitter(Duration::from_millis(1))
            .partitions(4)
            .flush_concurrency(CALLBACKS)
            .flush_timeout(Duration::from_millis(3))
            .flush_at_count(50)
            .max_batch_keys(16)
            .max_keys(64)
            .max_weight(5_000)
            .overflow(Overflow::Block { timeout: LONG })
            .hibernate_after(Duration::from_millis(1))
            .retry(RetryPolicy::fixed(3, Duration::from_millis(1)));
        let builder = journaled::journaled(builder);
        let buffer = match runtime {
            None => builder.start(sink),
            Some(runtime) => builder.runtime(runtime.handle().clone()).start_async(sink),
        };
        (buffer.expect("valid settings"), out)
    }

    fn insert<V: Aggregate>(
        &self,
        buffer: &Buffer<u64, V>,
        key: u64,
        item: V::Item,
    ) -> Result<(), InsertError<(u64, V::Item)>> {
        match self {
            Driver::Threads => buffer.insert(key, item),
            Driver::Tasks(runtime) => runtime.block_on(buffer.insert_async(key, item, LONG)),
        }
    }

    /// The result is of no interest.
    fn flush_and_wait<V: Aggregate>(&self, buffer: &Buffer<u64, V>, key: u64) {
        let _ = match self {
            Driver::Threads => buffer.flush_and_wait(&key, LONG),
            Driver::Tasks(runtime) => runtime.block_on(buffer.flush_and_wait_async(&key, LONG)),
        };
    }

    /// The result is of no interest.
    fn flush_all_and_wait<V: Aggregate>(&self, buffer: &Buffer<u64, V>) {
        let _ = match self {
            Driver::Threads => buffer.flush_all_and_wait(LONG),
            Driver::Tasks(runtime) => runtime.block_on(buffer.flush_all_and_wait_async(LONG)),
        };
    }

    fn shutdown<V: Aggregate>(
        &self,
        buffer: &Buffer<u64, V>,
        patience: Duration,
    ) -> Vec<Undelivered<u64, V>> {
        let result = match self {
            Driver::Threads => buffer.shutdown(patience),
            Driver::Tasks(runtime) => runtime.block_on(buffer.shutdown_async(patience)),
        };
        result.err().map(ShutdownError::into_undelivered).unwrap_or_default().into_iter().collect()
    }

    /// Whether something happened that this driver should have met with.
    fn was_put_to_the_test(&self, stats: &Stats) -> bool {
        stats.retries > 0 && (matches!(self, Driver::Threads) || stats.overdue > 0)
    }
}

/// What was accepted, what was removed and what shutdown gave back.
struct Storm<V: Aggregate> {
    accepted: Vec<(u64, u64)>,
    removed: Vec<(u64, V)>,
    returned: Vec<Undelivered<u64, V>>,
}

/// Inserts until all is inserted or the buffer is closed. Returns what was accepted.
fn produce<V: Aggregate>(
    driver: &Driver,
    buffer: &Buffer<u64, V>,
    item: impl Fn(u64) -> V::Item,
    producer: u64,
    half_way: &Sender<()>,
) -> Vec<(u64, u64)> {
    let mut accepted = Vec::new();
    for turn in 0..inserts() {
        if turn == inserts() / 2 {
            half_way.send(()).expect("the main thread waits");
        }
        let number = turn * PRODUCERS + producer;
        let key = number.wrapping_mul(0x9E37_79B9) % KEYS;
        match driver.insert(buffer, key, item(number)) {
            Ok(()) => accepted.push((key, number)),
            Err(refused) => {
                assert_eq!(refused.kind, InsertErrorKind::Closed);
                break;
            }
        }
    }
    accepted
}

/// Makes all the other calls until the buffer is closed. Returns what was removed, and how many calls they were.
fn meddle<V: Aggregate + Clone>(driver: &Driver, buffer: &Buffer<u64, V>) -> (Vec<(u64, V)>, usize) {
    let (mut removed, mut calls) = (Vec::new(), 0);
    for key in (0..KEYS).cycle().take_while(|_| !buffer.is_closed()) {
        calls += 1;
        match key % 7 {
            0 => buffer.flush(&key),
            1 => removed.extend(buffer.remove(&key).into_iter().map(|data| (key, data))),
            2 => driver.flush_and_wait(buffer, key),
            3 if key == 3 => driver.flush_all_and_wait(buffer),
            4 => drop(buffer.snapshot()),
            5 => drop(buffer.retry_undelivered()),
            _ => drop((buffer.peek(&key), buffer.count(&key))),
        }
        assert_eq!(buffer.stats().balance(), 0);
    }
    (removed, calls)
}

/// Has all producers insert, somebody meddle, and the buffer come to its end when the first producer is
/// half way.
fn storm<V: Aggregate + Clone>(
    driver: &Driver,
    buffer: &Buffer<u64, V>,
    item: impl Fn(u64) -> V::Item + Copy + Sync + Send,
    end: impl FnOnce() -> Vec<Undelivered<u64, V>>,
) -> Storm<V> {
    let (half_way, wait) = channel();
    thread::scope(|scope| {
        let produce = |producer| {
            let half_way = half_way.clone();
            scope.spawn(move || produce(driver, buffer, item, producer, &half_way))
        };
        let producers: Vec<_> = (0..PRODUCERS).map(produce).collect();
        let meddler = scope.spawn(|| meddle(driver, buffer));
        wait.recv().expect("a producer gets half way");
        let returned = end();
        let accepted: Vec<_> =
            producers.into_iter().flat_map(|producer| producer.join().expect("no panic")).collect();
        let (removed, meddled) = meddler.join().expect("no panic");
        println!("counted: {} operations", accepted.len() + meddled);
        Storm { accepted, removed, returned }
    })
}

fn add<'a>(totals: &mut BTreeMap<u64, i64>, items: impl IntoIterator<Item = (&'a u64, i64)>) {
    items.into_iter().for_each(|(key, amount)| *totals.entry(*key).or_default() += amount);
}

/// Makes a `#[test]` per driver of each scenario.
macro_rules! each_driver {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn threads() {
                super::$scenario(super::Driver::Threads);
            }

            #[test]
            fn tasks() {
                super::$scenario(super::Driver::Tasks(super::runtime()));
            }
        }
    )+};
}

each_driver! {
    sums_come_out_exactly,
    nothing_is_lost_when_there_is_no_time,
    a_list_reaches_the_sink_in_the_order_of_its_inserts,
}

fn sums_come_out_exactly(driver: Driver) {
    let (buffer, out) = driver.start::<Sum<i64>>(true);
    let storm = storm(&driver, &buffer, |number| number as i64, || driver.shutdown(&buffer, LONG));
    let stats = buffer.stats();
    assert!(driver.was_put_to_the_test(&stats), "{stats:?}");
    assert_eq!((stats.balance(), stats.pending, stats.in_flight), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.accepted, storm.accepted.len() as u64);
    let (mut put_in, mut came_out) = (BTreeMap::new(), BTreeMap::new());
    add(&mut put_in, storm.accepted.iter().map(|(key, number)| (key, *number as i64)));
    let out = out.lock();
    assert_eq!(out.overlaps, 0);
    let given_up = |left: &Undelivered<_, _>| matches!(left.state(), UndeliveredState::GivenUp { .. });
    assert!(storm.returned.iter().all(given_up), "there was time for all others");
    // The id tells what had been applied before it was kept.
    let lost = storm.returned.iter().filter(|left| !is_applied(left, &out));
    let returned = lost.map(|left| (left.key(), left.data().0));
    for part in [&out.applied, &out.given_up, &storm.removed] {
        add(&mut came_out, part.iter().map(|(key, sum)| (key, sum.0)));
    }
    add(&mut came_out, returned);
    assert_eq!(put_in, came_out);
}

fn is_applied<V>(left: &Undelivered<u64, V>, out: &Out<V>) -> bool {
    left.may_be_applied() && left.batch().is_some_and(|id| out.ids.contains(&(id, *left.key())))
}

fn nothing_is_lost_when_there_is_no_time(driver: Driver) {
    let (buffer, out) = driver.start::<Vec<u64>>(true);
    let storm = storm(&driver, &buffer, |number| number, || driver.shutdown(&buffer, Duration::ZERO));
    account_for_all(&driver, buffer, &out, storm);
}

/// Others shut down at the same time, and wait for room and for flushes.
#[test]
fn nothing_is_lost_when_the_runtime_ends() {
    let (driver, of_sink) = (Driver::Tasks(runtime()), runtime());
    let (buffer, out) = driver.start_on::<Vec<u64>>(Some(&of_sink), true);
    let end = || {
        thread::scope(|scope| {
            let returned = scope.spawn(|| driver.shutdown(&buffer, LONG));
            drop(of_sink);
            returned.join().expect("no panic")
        })
    };
    let storm = storm(&driver, &buffer, |number| number, end);
    account_for_all(&driver, buffer, &out, storm);
}

/// Everything that was accepted is somewhere; what is returned may have been delivered as well, if it says
/// so.
fn account_for_all(
    driver: &Driver,
    buffer: Buffer<u64, Vec<u64>>,
    out: &Arc<Mutex<Out<Vec<u64>>>>,
    mut storm: Storm<Vec<u64>>,
) {
    // What `handle_error` still had and then kept is handed back later.
    while buffer.stats().in_flight > 0 {
        storm.returned.extend(driver.shutdown(&buffer, Duration::ZERO));
    }
    // The last callbacks come back, and whoever holds the sink lets go of it.
    drop(buffer);
    while Arc::strong_count(out) > 1 {
        thread::yield_now();
    }
    let out = out.lock();
    assert_eq!(out.overlaps, 0);
    let delivered: Vec<u64> = [&out.applied, &out.given_up, &storm.removed]
        .into_iter()
        .flatten()
        .flat_map(|(_, list)| list.iter().copied())
        .collect();
    let unique: BTreeSet<u64> = delivered.iter().copied().collect();
    assert_eq!(unique.len(), delivered.len(), "what is delivered is delivered once");
    for left in &storm.returned {
        let twice = left.data().iter().any(|number| unique.contains(number));
        assert_eq!(twice, is_applied(left, &out), "{left:?}");
    }
    let returned: Vec<u64> = storm.returned.iter().flat_map(|left| left.data().iter().copied()).collect();
    let all: BTreeSet<u64> = unique.into_iter().chain(returned.iter().copied()).collect();
    assert_eq!(returned.iter().collect::<BTreeSet<_>>().len(), returned.len(), "nothing is returned twice");
    assert_eq!(all, storm.accepted.iter().map(|(_, number)| *number).collect());
}

fn a_list_reaches_the_sink_in_the_order_of_its_inserts(driver: Driver) {
    let (buffer, out) = driver.start::<Vec<u64>>(false);
    let storm = storm(&driver, &buffer, |number| number, || driver.shutdown(&buffer, LONG));
    assert!(!storm.accepted.is_empty());
    let mut last: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let out = out.lock();
    assert_eq!(out.overlaps, 0);
    for (key, list) in &out.applied {
        for number in list {
            let before = last.insert((*key, number % PRODUCERS), *number);
            assert!(before < Some(*number), "{number} after {before:?}");
        }
    }
}
