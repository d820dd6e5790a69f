//! Sinks that write key by key: one key's slowness, hanging or failure is its own, and what is done is
//! done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::time::sleep;
use write_behind::{AsyncDataBuffer, BatchId, Buffer, FlushContext, FlushError, Sum, SummingBuffer, Verdict};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    keys_have_ids_of_their_own_which_attempts_keep,
    what_is_stored_is_not_sent_again_with_what_failed,
    attempts_are_counted_key_by_key_in_a_batch_of_old_and_fresh_ones,
}

each_concurrent_driver! {
    keys_run_side_by_side_up_to_the_bound,
    a_hanging_key_holds_no_other_up,
    waiting_for_one_key_does_not_wait_for_those_beside_it,
}

type Totals = Rig<u32, Sum<i64>>;

/// Stores slowly, one key after the other, and never fails.
#[derive(Clone, Default)]
struct Slow {
    stored: Arc<Mutex<HashMap<u32, i64>>>,
    /// Only the first attempt of this key hangs.
    hangs: Option<u32>,
    hung: Arc<AtomicBool>,
}

impl AsyncDataBuffer<u32, Sum<i64>> for Slow {
    async fn handle_flush(&self, key: &u32, data: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        if self.hangs == Some(*key) && !self.hung.swap(true, Ordering::Relaxed) {
            return std::future::pending().await;
        }
        sleep(ms(40)).await;
        *self.stored.lock().unwrap().entry(*key).or_default() += data.0;
        Ok(())
    }
}

/// With a timeout for all of them some counted four times, others never, and shutdown said that all was
/// well.
#[tokio::test(start_paused = true)]
async fn a_thousand_slow_keys_count_once_on_defaults() {
    let sink = Slow::default();
    let buffer: SummingBuffer<u32, i64> = Buffer::builder().start_async(sink.clone()).unwrap();
    (0..1_000).for_each(|key| buffer.add(&key, 1).unwrap());
    sleep(secs(3_600)).await;
    let stats = buffer.stats();
    assert_eq!((stats.flushed, stats.failures, stats.flushes), (1_000, 0, 1_000));
    buffer.shutdown_async(secs(10)).await.expect("all is stored");
    assert_eq!(*sink.stored.lock().unwrap(), (0..1_000).map(|key| (key, 1)).collect());
}

#[tokio::test(start_paused = true)]
async fn a_hung_key_among_fifteen_costs_only_itself() {
    let sink = Slow { hangs: Some(7), ..Slow::default() };
    let buffer: SummingBuffer<u32, i64> = Buffer::builder().start_async(sink.clone()).unwrap();
    (0..15).for_each(|key| buffer.add(&key, 1).unwrap());
    sleep(secs(6)).await;
    assert_eq!(buffer.stats().flushed, 14, "nobody waits for the one that hangs");
    sleep(secs(60)).await;
    let stats = buffer.stats();
    assert_eq!((stats.flushed, stats.overdue, stats.retries), (15, 1, 1));
    assert_eq!(*sink.stored.lock().unwrap(), (0..15).map(|key| (key, 1)).collect());
}

fn keys_have_ids_of_their_own_which_attempts_keep(driver: Driver) {
    let sink = Script::keys(|sink: &Script<u32, Sum<i64>>, key, _| {
        let tries = sink.calls().iter().filter(|call| call.entries[0].0 == *key).count();
        if *key % 2 == 0 && tries < 3 { Err("the answer is lost".into()) } else { Ok(()) }
    });
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady()));
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.pass_time_until("all is stored", || rig.buffer.stats().flushed == 10);
    let mut ids: HashMap<u32, Vec<(BatchId, u32)>> = HashMap::new();
    for call in rig.sink.calls() {
        ids.entry(call.entries[0].0).or_default().push((call.id, call.attempt));
    }
    for (key, attempts) in &ids {
        let id = attempts[0].0;
        let expected: Vec<_> = (1..=if key % 2 == 0 { 3 } else { 1 }).map(|attempt| (id, attempt)).collect();
        assert_eq!(*attempts, expected, "key {key}");
    }
    let different: std::collections::BTreeSet<_> = ids.values().map(|attempts| attempts[0].0).collect();
    assert_eq!(different.len(), 10);
}

fn what_is_stored_is_not_sent_again_with_what_failed(driver: Driver) {
    let sink =
        Script::keys(
            |sink: &Script<u32, Sum<i64>>, key, _| {
                if *key == 5 && sink.calls().len() < 40 { Err("not yet".into()) } else { Ok(()) }
            },
        );
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady()));
    (0..30).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.pass_time_until("all is stored", || rig.buffer.stats().flushed == 30);
    let calls = rig.sink.calls();
    assert!(
        (0..30)
            .filter(|key| *key != 5)
            .all(|key| { calls.iter().filter(|call| call.entries[0].0 == key).count() == 1 })
    );
}

fn attempts_are_counted_key_by_key_in_a_batch_of_old_and_fresh_ones(driver: Driver) {
    let sink = Script::keys(|_, _, _| Err("down".into())).on_error(|_, _| Verdict::Forget);
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady().attempts(3)));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("the old one has failed once", || rig.buffer.stats().retries == 1);
    rig.insert(2, 1);
    rig.buffer.flush(&2);
    rig.pass_time_until("both are given up", || rig.buffer.stats().gave_up == 2);
    let mut attempts: Vec<_> =
        rig.sink.given_up().into_iter().map(|(key, _, attempts, _)| (key, attempts)).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [(1, 3), (2, 3)]);
}

fn keys_run_side_by_side_up_to_the_bound(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, _, _| Ok(())).behind(&gate);
    let rig = Totals::with(driver, sink, |builder| builder.flush_concurrency(3));
    (0..50).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    gate.await_arrivals(3);
    gate.open();
    rig.eventually("all is stored", || rig.buffer.stats().flushed == 50);
    assert_eq!(rig.sink.busiest(), 3);
}

fn a_hanging_key_holds_no_other_up(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, _, _| Ok(())).behind_for(&gate, |key| *key == 0);
    let rig = Totals::with(driver, sink, |builder| builder.flush_concurrency(2));
    (0..200).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("all others are stored", || rig.buffer.stats().flushed == 199);
    gate.open();
    rig.eventually("and it is in the end", || rig.buffer.stats().flushed == 200);
}

fn waiting_for_one_key_does_not_wait_for_those_beside_it(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, _, _| Ok(())).behind_for(&gate, |key| *key == 0);
    let rig = Totals::with(driver, sink, |builder| builder.flush_concurrency(2).partitions(1));
    (0..20).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    gate.await_arrivals(1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.buffer.flush_and_wait(&19, secs(3_600)));
        waiting.join().unwrap().expect("it is not behind the one that hangs");
    });
    assert_eq!(rig.buffer.count(&0).in_flight, 1);
    gate.open();
}
