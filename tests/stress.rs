//! Real threads, real time and a sink that fails often: whatever was accepted comes out exactly once.
//!
//! `WRITE_BEHIND_STRESS` sets how many inserts each producer makes (default 5 000). Also what
//! `scripts/tsan` runs, which cannot see into the locks of the precompiled standard library: the test
//! takes parking_lot's.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use write_behind::{
    Aggregate, BatchId, Buffer, DataBuffer, FailedFlush, FlushBatch, FlushError, InsertErrorKind, KeyFailure,
    Outcome, Overflow, RetryPolicy, ShutdownError, Sum, Undelivered, UndeliveredState, Verdict,
};

const PRODUCERS: u64 = 4;
const KEYS: u64 = 97;
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
}

/// Fails in every way, and applies a batch once however often it is sent.
struct Flaky<V> {
    attempts: AtomicU64,
    out: Arc<Mutex<Out<V>>>,
}

impl<V: Clone> Flaky<V> {
    fn new() -> (Self, Arc<Mutex<Out<V>>>) {
        let out = Out { applied: Vec::new(), given_up: Vec::new(), ids: BTreeSet::new() };
        let out = Arc::new(Mutex::new(out));
        (Flaky { attempts: AtomicU64::new(0), out: Arc::clone(&out) }, out)
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
}

impl<V: Aggregate + Clone> DataBuffer<u64, V> for Flaky<V> {
    type Error = &'static str;

    fn handle_flush(&self, _: &u64, _: &V) -> Result<(), &'static str> {
        Err("only batches are flushed")
    }

    fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Result<(), FlushError<&'static str>> {
        match self.attempts.fetch_add(1, Ordering::Relaxed) % 11 {
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

    fn handle_error(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
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

fn start<V: Aggregate + Clone>() -> (Buffer<u64, V>, Arc<Mutex<Out<V>>>) {
    let (sink, out) = Flaky::new();
    let buffer = Buffer::builder()
        .interval(Duration::from_millis(2))
        .jitter(Duration::from_millis(1))
        .partitions(4)
        .flush_threads(3)
        .flush_at(50)
        .max_batch_keys(16)
        .max_keys(64)
        .max_weight(5_000)
        .overflow(Overflow::Block { timeout: LONG })
        .hibernate_after(Duration::from_millis(1))
        .retry(RetryPolicy::new().attempts(3).delay(Duration::from_millis(1)))
        .start(sink)
        .expect("valid settings");
    (buffer, out)
}

/// What was accepted, what was removed and what shutdown gave back.
struct Storm<V: Aggregate> {
    accepted: Vec<(u64, u64)>,
    removed: Vec<(u64, V)>,
    returned: Vec<Undelivered<u64, V>>,
}

/// Has all producers insert, somebody meddle, and the buffer shut down when the first producer is half
/// way.
fn storm<V: Aggregate + Clone>(
    buffer: &Buffer<u64, V>,
    item: impl Fn(u64) -> V::Item + Sync,
    patience: Duration,
) -> Storm<V> {
    let (half_way, wait) = std::sync::mpsc::channel();
    let produce = |producer: u64| {
        let mut accepted = Vec::new();
        for turn in 0..inserts() {
            if turn == inserts() / 2 {
                half_way.send(()).expect("the main thread waits");
            }
            let number = turn * PRODUCERS + producer;
            let key = number.wrapping_mul(0x9E37_79B9) % KEYS;
            match buffer.insert(key, item(number)) {
                Ok(()) => accepted.push((key, number)),
                Err(refused) => {
                    assert_eq!(refused.kind, InsertErrorKind::Closed);
                    break;
                }
            }
        }
        accepted
    };
    let meddle = || {
        let mut removed = Vec::new();
        for key in (0..KEYS).cycle().take_while(|_| !buffer.is_closed()) {
            match key % 7 {
                0 => buffer.flush(&key),
                1 => removed.extend(buffer.remove(&key).map(|data| (key, data))),
                2 => drop(buffer.flush_and_wait(&key, LONG)),
                3 if key == 3 => drop(buffer.flush_all_and_wait(LONG)),
                4 => drop(buffer.dump()),
                _ => drop((buffer.peek(&key), buffer.count(&key))),
            }
            assert_eq!(buffer.stats().balance(), 0);
        }
        removed
    };
    thread::scope(|scope| {
        let producers: Vec<_> =
            (0..PRODUCERS).map(|producer| scope.spawn(move || produce(producer))).collect();
        let meddler = scope.spawn(meddle);
        wait.recv().expect("a producer gets half way");
        let result = buffer.shutdown(patience);
        let returned = result.err().map(ShutdownError::into_undelivered).unwrap_or_default();
        let accepted =
            producers.into_iter().flat_map(|producer| producer.join().expect("no panic")).collect();
        Storm { accepted, removed: meddler.join().expect("no panic"), returned }
    })
}

fn add<'a>(totals: &mut BTreeMap<u64, i64>, items: impl IntoIterator<Item = (&'a u64, i64)>) {
    items.into_iter().for_each(|(key, amount)| *totals.entry(*key).or_default() += amount);
}

#[test]
fn sums_come_out_exactly() {
    let (buffer, out) = start::<Sum<i64>>();
    let storm = storm(&buffer, |number| number as i64, LONG);
    let stats = buffer.stats();
    assert_eq!((stats.balance(), stats.pending, stats.in_flight), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.accepted, storm.accepted.len() as u64);
    let (mut put_in, mut came_out) = (BTreeMap::new(), BTreeMap::new());
    add(&mut put_in, storm.accepted.iter().map(|(key, number)| (key, *number as i64)));
    let out = out.lock();
    let returned = storm.returned.iter().map(|left| (left.key(), left.data().0));
    for part in [&out.applied, &out.given_up, &storm.removed] {
        add(&mut came_out, part.iter().map(|(key, sum)| (key, sum.0)));
    }
    let unhandled = |left: &Undelivered<_, _>| matches!(left.state(), UndeliveredState::Unhandled { .. });
    assert!(storm.returned.iter().all(unhandled), "there was time for all others");
    add(&mut came_out, returned);
    assert_eq!(put_in, came_out);
}

#[test]
fn nothing_is_lost_when_there_is_no_time() {
    let (buffer, out) = start::<Vec<u64>>();
    let storm = storm(&buffer, |number| number, Duration::ZERO);
    // The last callbacks come back, and whoever holds the sink lets go of it.
    drop(buffer);
    while Arc::strong_count(&out) > 1 {
        thread::yield_now();
    }
    let out = out.lock();
    let delivered: Vec<u64> = [&out.applied, &out.given_up, &storm.removed]
        .into_iter()
        .flatten()
        .flat_map(|(_, list)| list.iter().copied())
        .collect();
    let unique: BTreeSet<u64> = delivered.iter().copied().collect();
    assert_eq!(unique.len(), delivered.len(), "what is delivered is delivered once");
    let returned = storm.returned.iter().flat_map(|left| left.data().iter().copied());
    let all: BTreeSet<u64> = unique.into_iter().chain(returned).collect();
    assert_eq!(all, storm.accepted.iter().map(|(_, number)| *number).collect());
}

#[test]
fn a_list_reaches_the_sink_in_the_order_of_its_inserts() {
    let (buffer, out) = start::<Vec<u64>>();
    let storm = storm(&buffer, |number| number, LONG);
    assert!(!storm.accepted.is_empty());
    let mut last: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (key, list) in &out.lock().applied {
        for number in list {
            let before = last.insert((*key, number % PRODUCERS), *number);
            assert!(before < Some(*number), "{number} after {before:?}");
        }
    }
}
