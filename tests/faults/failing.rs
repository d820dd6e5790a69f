//! Failures that lost data, doubled it, or took others along.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use write_behind::{BatchId, FlushError, RetryPolicy, Sum, Verdict};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    a_raising_handle_error_loses_neither_its_data_nor_the_next,
    three_crashes_in_a_row_take_nobody_down,
    a_failed_first_flush_of_a_counter_is_not_lost,
    one_poisoned_entry_of_thirty_stalls_nobody,
    an_ambiguous_failure_counts_once,
    a_partial_failure_counts_once,
    a_temporary_outage_heals,
    a_panic_poisons_no_later_insert,
    an_equal_value_inserted_during_its_flush_is_not_lost,
}

each_concurrent_driver! {
    one_slow_entry_stalls_nobody,
}

type Totals = Rig<u32, Sum<i64>>;

fn a_raising_handle_error_loses_neither_its_data_nor_the_next(driver: Driver) {
    let sink = Script::keys(|_, _, data: &Sum<i64>| match data.0 {
        1 => Err("down".into()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, _failed| panic!("raised"));
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    rig.insert(1, 1);
    rig.pass_time_until("it is kept", || rig.buffer.stats().undelivered == 1);
    rig.insert(1, 2);
    rig.pass_time_until("the next one is flushed", || rig.buffer.stats().flushed == 1);
    let left = rig
        .buffer
        .shutdown(secs(5))
        .expect_err("the first one is left")
        .into_undelivered()
        .into_iter()
        .collect::<Vec<_>>();
    let left: Vec<_> = left.into_iter().map(|left| (*left.key(), *left.data(), left.count())).collect();
    assert_eq!(left, [(1, Sum(1), 1)]);
}

/// stat_buffer: three crashes in five seconds ended the supervisor, with every key's data.
fn three_crashes_in_a_row_take_nobody_down(driver: Driver) {
    let calls = AtomicU32::new(0);
    let sink = Script::keys(move |_, _, _| match calls.fetch_add(1, Ordering::Relaxed) {
        0..30 => panic!("crash"),
        _ => Ok(()),
    });
    let retry = steady().delay(ms(1));
    let rig = Totals::with(driver, sink, |builder| builder.retry(retry));
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("all ten are flushed", || rig.buffer.stats().flushed == 10);
    assert_eq!(rig.buffer.stats().panics, 30);
}

/// limitador: the log said that it was reverted.
fn a_failed_first_flush_of_a_counter_is_not_lost(driver: Driver) {
    let sink = Script::keys(|sink: &Script<u32, Sum<i64>>, _, _| match sink.calls().len() {
        1 => Err("down".into()),
        _ => Ok(()),
    });
    let rig = Totals::with(driver, sink, |builder| builder);
    rig.insert(1, 40);
    rig.pass_time_until("the first attempt has failed", || rig.buffer.stats().failures == 1);
    assert_eq!(rig.buffer.total(&1), Some(40));
    rig.insert(1, 2);
    rig.pass_time_until("both are flushed", || rig.buffer.stats().flushed == 2);
    assert_eq!(rig.sink.flushed(), [(1, Sum(40)), (1, Sum(2))]);
}

/// Hazelcast: 1 of 30 poisoned, 29 stored.
fn one_poisoned_entry_of_thirty_stalls_nobody(driver: Driver) {
    let sink = Script::batches(|_, batch| {
        let poisoned = batch.entries().iter().filter(|entry| *entry.key() == 17);
        FlushError::entries(poisoned.map(|entry| entry.failed("no")))
    });
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady()));
    (0..30).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("29 are stored", || rig.buffer.stats().flushed == 29);
    rig.pass_time_until("it is tried again and again", || rig.buffer.stats().retries > 5);
    assert_eq!(rig.buffer.count(&17).in_flight, 1);
    // The others are sent once, and after the first time it goes alone.
    let calls = rig.sink.calls();
    let others = calls.iter().flat_map(|call| &call.entries).filter(|(key, _)| *key != 17).count();
    assert_eq!(others, 29);
    let with_it: Vec<_> =
        calls.iter().filter(|call| call.entries.iter().any(|(key, _)| *key == 17)).collect();
    assert!(with_it.len() > 5 && with_it[1..].iter().all(|call| call.entries == [(17, Sum(1))]));
}

/// A store that remembers the ids of what it has applied, and forgets those that are settled.
#[derive(Default)]
struct Ledger {
    total: i64,
    applied: HashSet<BatchId>,
}

/// rustrak: the answer was lost after the commit, and the retry counted twice.
fn an_ambiguous_failure_counts_once(driver: Driver) {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let written = Arc::clone(&ledger);
    let sink = Script::batches(move |_: &Script<u32, Sum<i64>>, batch| {
        let mut ledger = written.lock().unwrap();
        ledger.applied.retain(|id| id.sequence >= batch.settled_below());
        if ledger.applied.insert(batch.id()) {
            ledger.total += batch.entries().iter().map(|entry| entry.data().0).sum::<i64>();
        }
        if batch.attempt() < 3 { Err("the answer was lost".to_owned().into()) } else { Ok(()) }
    });
    let rig = Totals::with(driver, sink, |builder| builder.interval(ms(300)));
    for round in 0..40 {
        rig.insert(round % 5, 1);
        rig.advance(ms(100));
    }
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 40);
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.total, 40);
    assert!(ledger.applied.len() <= 10, "the ledger forgets what is settled");
}

/// DotNetWorkQueue: what had been stored was sent again with what had not.
fn a_partial_failure_counts_once(driver: Driver) {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&stored);
    let sink = Script::keys(move |sink: &Script<u32, Sum<i64>>, key, data: &Sum<i64>| {
        let tries = sink.calls().iter().filter(|call| call.entries[0].0 == *key).count();
        if key % 2 == 1 && tries == 1 {
            return Err("not stored".into());
        }
        store.lock().unwrap().push((*key, data.0));
        Ok(())
    });
    let rig = Totals::with(driver, sink, |builder| builder);
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 10);
    let mut stored = stored.lock().unwrap().clone();
    stored.sort_unstable();
    assert_eq!(stored, (0..10).map(|key| (key, 1)).collect::<Vec<_>>());
}

/// Hazelcast: the store is away for a while.
fn a_temporary_outage_heals(driver: Driver) {
    let sink = Script::keys(|sink: &Script<u32, Sum<i64>>, _, _| match sink.clock().now() < secs(60) {
        true => Err("away".into()),
        false => Ok(()),
    });
    let retry = steady().factor(2.0).cap(secs(10));
    let rig = Totals::with(driver, sink, |builder| builder.retry(retry));
    for _ in 0..30 {
        (0..5).for_each(|key| rig.insert(key, 1));
        rig.advance(secs(1));
    }
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 150);
    let total: i64 = rig.sink.flushed().iter().map(|(_, sum)| sum.0).sum();
    assert_eq!(total, 150);
}

/// Rust buffer-trigger, Caffeine: after one panic later writes vanished.
fn a_panic_poisons_no_later_insert(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Sum<i64>>, _| match sink.calls().len() {
        1 => panic!("once"),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, _| Verdict::Forget);
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()).partitions(1));
    rig.insert(1, 1);
    rig.pass_time_until("it is given up", || rig.buffer.stats().gave_up == 1);
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("the others are flushed", || rig.buffer.stats().flushed == 10);
}

/// Hazelcast compared values, and took the second for the first.
fn an_equal_value_inserted_during_its_flush_is_not_lost(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Sum<i64>>, _| {
        if sink.calls().len() == 1 {
            sink.buffer().insert(1, 7).expect("there is room");
        }
        Ok(())
    });
    let rig = Totals::with(driver, sink, |builder| builder);
    rig.insert(1, 7);
    rig.pass_time_until("both are flushed", || rig.buffer.stats().flushed == 2);
    assert_eq!(rig.sink.flushed(), [(1, Sum(7)), (1, Sum(7))]);
}

/// Hazelcast, issue 9265: a slow entry held everybody up.
fn one_slow_entry_stalls_nobody(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, _, _| Ok(())).behind_for(&gate, |key| *key == 0);
    let rig = Totals::with(driver, sink, |builder| builder.flush_concurrency(2).max_batch_keys(1));
    rig.insert(0, 1);
    rig.buffer.flush(&0);
    gate.await_arrivals(1);
    (1..20).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("the others are flushed", || rig.buffer.stats().flushed == 19);
    gate.open();
    rig.eventually("and the slow one in the end", || rig.buffer.stats().flushed == 20);
}

/// limitador: a flush that timed out was sent again while the first one was still being applied.
#[test]
fn an_overdue_flush_is_not_sent_again_beside_itself() {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Totals::with(Driver::Threads, sink, |builder| builder.flush_timeout(secs(1)));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    rig.pass_time_until("it is overdue", || rig.buffer.stats().overdue == 1);
    rig.insert(1, 2);
    rig.advance(secs(60));
    gate.open();
    rig.eventually("both are flushed", || rig.buffer.stats().flushed == 2);
    assert_eq!((rig.sink.flushed(), rig.sink.overlaps()), (vec![(1, Sum(1)), (1, Sum(2))], 0));
}
