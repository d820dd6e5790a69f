//! Real threads, real time and a sink that fails often: whatever was accepted comes out exactly once.
//! With a blocking sink on threads, and with an async one on a runtime, whose callbacks await and are
//! cancelled and whose waiting calls are the async twins.
//!
//! `WRITE_BEHIND_STRESS` sets how many inserts each producer makes (default 5 000). Also what
//! `scripts/tsan` runs, which cannot see into the locks of the precompiled standard library: the test
//! takes parking_lot's.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use write_behind::{
    Aggregate, AsyncDataBuffer, BatchId, Buffer, DataBuffer, FailedFlush, FlushBatch, FlushError,
    InsertError, InsertErrorKind, KeyFailure, Outcome, Overflow, RetryPolicy, ShutdownError, Stats, Sum,
    Undelivered, UndeliveredState, Verdict,
};

const PRODUCERS: u64 = 4;
const KEYS: u64 = 97;
const CALLBACKS: usize = 3;
const LONG: Duration = Duration::from_secs(120);

fn inserts() -> u64 {
    let inserts = std::env::var("WRITE_BEHIND_STRESS");
    inserts.map_or(5_000, |inserts| inserts.parse().expect("WRITE_BEHIND_STRESS is a number"))
}

/// What came out, by key and in the order in which it came.
#[derive(Debug)]
struct Out<V> {
    applied: Vec<(u64, V)>,
    given_up: Vec<(u64, V)>,
    ids: BTreeSet<BatchId>,
    /// How often a callback began that had to wait for another.
    overlaps: usize,
}

type Answer = Result<(), FlushError<&'static str>>;

/// Fails in every way, and applies a batch once however often it is sent.
struct Flaky<V> {
    attempts: AtomicU64,
    /// Keys that callbacks are at work on, by callback.
    at_work: Mutex<Vec<Vec<u64>>>,
    out: Arc<Mutex<Out<V>>>,
}

/// A callback at work.
struct Working<'a>(&'a Mutex<Vec<Vec<u64>>>, Vec<u64>);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|keys| *keys != self.1);
    }
}

impl<V: Clone> Flaky<V> {
    fn new() -> (Self, Arc<Mutex<Out<V>>>) {
        let out = Out { applied: Vec::new(), given_up: Vec::new(), ids: BTreeSet::new(), overlaps: 0 };
        let out = Arc::new(Mutex::new(out));
        (Flaky { attempts: AtomicU64::new(0), at_work: Mutex::default(), out: Arc::clone(&out) }, out)
    }

    /// A key is in one callback at a time, and there are no more callbacks than there may be. One that
    /// has been cancelled is over when its future has been dropped.
    fn begin(&self, keys: Vec<u64>) -> Working<'_> {
        let mut at_work = self.at_work.lock();
        let twice = at_work.iter().flatten().any(|key| keys.contains(key));
        self.out.lock().overlaps += usize::from(twice || at_work.len() >= CALLBACKS);
        at_work.push(keys.clone());
        Working(&self.at_work, keys)
    }

    fn begin_batch(&self, batch: &FlushBatch<u64, V>) -> Working<'_> {
        self.begin(batch.entries().iter().map(|entry| *entry.key()).collect())
    }

    /// Applies all but the first `skipped` entries, unless the batch has been applied before.
    fn apply(&self, batch: &FlushBatch<u64, V>, skipped: usize) -> bool {
        let mut out = self.out.lock();
        if out.ids.contains(&batch.id()) {
            return false;
        }
        if skipped == 0 {
            out.ids.insert(batch.id());
        }
        let entries = batch.entries()[skipped..].iter();
        out.applied.extend(entries.map(|entry| (*entry.key(), entry.data().clone())));
        true
    }

    fn next_turn(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    fn answer(&self, turn: u64, batch: &FlushBatch<u64, V>) -> Answer {
        match turn % 11 {
            1 => Err(FlushError::unknown("lost before")),
            3 => {
                self.apply(batch, 0);
                Err(FlushError::unknown("lost after"))
            }
            5 => Err(FlushError::not_applied("refused")),
            7 if self.apply(batch, 1) => {
                Err(FlushError::keys([KeyFailure::new(0, Outcome::NotApplied, "this key")]))
            }
            9 => resume_unwind(Box::new("the sink panics")),
            _ => {
                self.apply(batch, 0);
                Ok(())
            }
        }
    }

    fn give_up(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let mut out = self.out.lock();
        if out.ids.contains(&failed.batch()) {
            return Verdict::Done;
        }
        if failed.count() % 2 == 0 {
            return Verdict::Requeue(failed.into_data());
        }
        out.given_up.push(failed.into_parts());
        Verdict::Done
    }
}

const BATCHES: &str = "only batches are flushed";

impl<V: Aggregate + Clone> DataBuffer<u64, V> for Flaky<V> {
    type Error = &'static str;

    fn handle_flush(&self, _: &u64, _: &V) -> Result<(), &'static str> {
        Err(BATCHES)
    }

    fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        self.answer(self.next_turn(), batch)
    }

    fn handle_error(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let _working = self.begin(vec![*failed.key()]);
        self.give_up(failed)
    }
}

/// Takes its time, and now and then for ever.
async fn dawdle(turn: u64) {
    match turn % 13 {
        0..4 => {}
        4..8 => tokio::task::yield_now().await,
        8..12 => tokio::time::sleep(Duration::from_micros(turn % 7 * 300)).await,
        _ => pending().await,
    }
}

impl<V: Aggregate + Clone> AsyncDataBuffer<u64, V> for Flaky<V> {
    type Error = &'static str;

    async fn handle_flush(&self, _: &u64, _: &V) -> Result<(), &'static str> {
        Err(BATCHES)
    }

    async fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        let turn = self.next_turn();
        dawdle(turn).await;
        let answer = self.answer(turn, batch);
        if answer.is_ok() {
            // It is applied, and may yet be cancelled.
            dawdle(turn / 13).await;
        }
        answer
    }

    async fn handle_error(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let _working = self.begin(vec![*failed.key()]);
        tokio::task::yield_now().await;
        self.give_up(failed)
    }
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
    fn start<V: Aggregate + Clone>(&self) -> (Buffer<u64, V>, Arc<Mutex<Out<V>>>) {
        self.start_on(match self {
            Driver::Threads => None,
            Driver::Tasks(runtime) => Some(runtime),
        })
    }

    fn start_on<V: Aggregate + Clone>(
        &self,
        runtime: Option<&Runtime>,
    ) -> (Buffer<u64, V>, Arc<Mutex<Out<V>>>) {
        let (sink, out) = Flaky::new();
        let builder = Buffer::builder()
            .interval(Duration::from_millis(2))
            .jitter(Duration::from_millis(1))
            .partitions(4)
            .flush_threads(CALLBACKS)
            .flush_timeout(Duration::from_millis(3))
            .flush_at(50)
            .max_batch_keys(16)
            .max_keys(64)
            .max_weight(5_000)
            .overflow(Overflow::Block { timeout: LONG })
            .hibernate_after(Duration::from_millis(1))
            .retry(RetryPolicy::new().attempts(3).delay(Duration::from_millis(1)));
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
        result.err().map(ShutdownError::into_undelivered).unwrap_or_default()
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

/// Makes all the other calls until the buffer is closed. Returns what was removed.
fn meddle<V: Aggregate + Clone>(driver: &Driver, buffer: &Buffer<u64, V>) -> Vec<(u64, V)> {
    let mut removed = Vec::new();
    for key in (0..KEYS).cycle().take_while(|_| !buffer.is_closed()) {
        match key % 7 {
            0 => buffer.flush(&key),
            1 => removed.extend(buffer.remove(&key).map(|data| (key, data))),
            2 => driver.flush_and_wait(buffer, key),
            3 if key == 3 => driver.flush_all_and_wait(buffer),
            4 => drop(buffer.dump()),
            _ => drop((buffer.peek(&key), buffer.count(&key))),
        }
        assert_eq!(buffer.stats().balance(), 0);
    }
    removed
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
        let accepted =
            producers.into_iter().flat_map(|producer| producer.join().expect("no panic")).collect();
        Storm { accepted, removed: meddler.join().expect("no panic"), returned }
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
    let (buffer, out) = driver.start::<Sum<i64>>();
    let storm = storm(&driver, &buffer, |number| number as i64, || driver.shutdown(&buffer, LONG));
    let stats = buffer.stats();
    assert!(driver.was_put_to_the_test(&stats), "{stats:?}");
    assert_eq!((stats.balance(), stats.pending, stats.in_flight), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.accepted, storm.accepted.len() as u64);
    let (mut put_in, mut came_out) = (BTreeMap::new(), BTreeMap::new());
    add(&mut put_in, storm.accepted.iter().map(|(key, number)| (key, *number as i64)));
    let out = out.lock();
    assert_eq!(out.overlaps, 0);
    let returned = storm.returned.iter().map(|left| (left.key(), left.data().0));
    for part in [&out.applied, &out.given_up, &storm.removed] {
        add(&mut came_out, part.iter().map(|(key, sum)| (key, sum.0)));
    }
    let unhandled = |left: &Undelivered<_, _>| matches!(left.state(), UndeliveredState::Unhandled { .. });
    assert!(storm.returned.iter().all(unhandled), "there was time for all others");
    add(&mut came_out, returned);
    assert_eq!(put_in, came_out);
}

fn nothing_is_lost_when_there_is_no_time(driver: Driver) {
    let (buffer, out) = driver.start::<Vec<u64>>();
    let storm = storm(&driver, &buffer, |number| number, || driver.shutdown(&buffer, Duration::ZERO));
    account_for_all(&driver, buffer, &out, storm);
}

/// Others shut down at the same time, and wait for room and for flushes.
#[test]
fn nothing_is_lost_when_the_runtime_ends() {
    let (driver, of_sink) = (Driver::Tasks(runtime()), runtime());
    let (buffer, out) = driver.start_on::<Vec<u64>>(Some(&of_sink));
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

/// Everything that was accepted is somewhere; only what was in a callback may be returned as well.
fn account_for_all(
    driver: &Driver,
    buffer: Buffer<u64, Vec<u64>>,
    out: &Arc<Mutex<Out<Vec<u64>>>>,
    mut storm: Storm<Vec<u64>>,
) {
    // What `handle_error` still had and wants put back is handed back later.
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
    let returned: Vec<u64> = storm.returned.iter().flat_map(|left| left.data().iter().copied()).collect();
    let all: BTreeSet<u64> = unique.into_iter().chain(returned.iter().copied()).collect();
    assert_eq!(returned.iter().collect::<BTreeSet<_>>().len(), returned.len(), "nothing is returned twice");
    assert_eq!(all, storm.accepted.iter().map(|(_, number)| *number).collect());
}

fn a_list_reaches_the_sink_in_the_order_of_its_inserts(driver: Driver) {
    let (buffer, out) = driver.start::<Vec<u64>>();
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
