//! Lines 5 to 9: what becomes of data.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use write_behind::{FlushError, FlushWaitError, RetryPolicy, Sum, Verdict};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    c05_conservation_through_every_fate,
    c05_conservation_while_others_work,
    c05_rejected_inserts_come_back_and_are_counted_apart,
    c06_an_insert_during_a_flush_goes_to_the_next_generation,
    c06_concurrent_inserts_land_in_exactly_one_generation,
    c07_a_key_is_never_in_flight_twice,
    c07_data_reaches_the_sink_in_insert_order,
    c07_a_retrying_generation_holds_the_next_one_back,
    c08_an_unknown_outcome_is_resent_unchanged_under_the_same_id,
    c08_a_single_key_keeps_its_id_over_its_attempts,
    c08_a_key_named_as_failed_goes_on_under_a_new_id,
    c08_only_what_was_not_applied_is_split,
    c09_reads_tell_pending_and_in_flight_apart,
    c09_a_look_that_a_flush_came_after_did_not_stay,
    c09_a_look_that_a_rest_came_after_did_not_stay,
    c09_flush_and_wait_covers_retrying_data,
    c09_flush_and_wait_returns_the_real_error,
    c09_flush_and_wait_covers_a_total_that_was_closed_early,
    c09_flush_all_and_wait_covers_data_in_flight,
}

each_concurrent_driver! {
    c09_flush_and_wait_does_not_wait_for_newer_data,
}

type Lists = Rig<&'static str, Vec<u32>>;
type Totals = Rig<&'static str, Sum<i64>>;

fn down<K, V>(_: &Script<K, V>, _: &write_behind::FlushBatch<K, V>) -> crate::support::Answer {
    Err("down".to_owned().into())
}

/// Fails the first `times` attempts of every batch.
fn fails(times: u32) -> Script<&'static str, Vec<u32>> {
    Script::batches(
        move |_, batch| {
            if batch.attempt() <= times { Err("down".to_owned().into()) } else { Ok(()) }
        },
    )
}

fn c05_conservation_through_every_fate(driver: Driver) {
    let sink = Script::batches(|_, batch| {
        let sick = batch.entries().iter().filter(|entry| *entry.key() == "given up");
        let failures = sick.map(|entry| entry.failed(FlushError::unknown("no").give_up()));
        match batch.entries()[0].key() {
            &"retrying" => Err(FlushError::unknown("later".to_owned())),
            _ => FlushError::entries(failures),
        }
    });
    let rig = Lists::with(driver, sink, |builder| builder.max_batch_keys(1).max_keys(5));
    let check = |what: &str| assert_eq!(rig.buffer.stats().balance(), 0, "{what}");
    for key in ["flushed", "given up", "removed", "retrying"] {
        (0..3).for_each(|item| rig.insert(key, item));
        check(key);
    }
    assert_eq!(rig.buffer.remove("removed"), [vec![0, 1, 2]]);
    check("removed");
    rig.buffer.flush_all();
    rig.eventually("two are settled and one waits", || {
        let stats = rig.buffer.stats();
        check("in flight");
        (stats.flushed, stats.gave_up, stats.retries) == (3, 3, 1)
    });
    rig.insert("pending", 1);
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.removed, stats.in_flight, stats.pending), (13, 3, 3, 1));
    let error = rig.buffer.shutdown(ms(0)).expect_err("two keys are left");
    assert_eq!(error.into_undelivered().len(), 2);
    let stats = rig.buffer.stats();
    assert_eq!((stats.returned, stats.in_flight, stats.pending, stats.balance()), (4, 0, 0, 0));
    assert_eq!((stats.keys, stats.weight), (0, 0));
}

fn c05_conservation_while_others_work(driver: Driver) {
    let calls = AtomicU64::new(0);
    let sink =
        Script::keys(move |_, _: &u32, _: &Vec<u32>| match calls.fetch_add(1, Ordering::Relaxed) % 5 {
            0 => Err("down".into()),
            _ => Ok(()),
        });
    let retry = steady().attempts(2).delay(ms(10));
    let rig = Rig::with(driver, sink, |builder| builder.flush_at_count(3).retry(retry));
    thread::scope(|scope| {
        for thread in 0..2 {
            let rig = &rig;
            scope.spawn(move || {
                for item in 0..2_000 {
                    rig.insert(item * (thread + 1) % 97, item);
                    if item % 50 == 0 {
                        drop(rig.buffer.remove(&(item % 97)));
                        assert_eq!(rig.buffer.stats().balance(), 0);
                    }
                }
            });
        }
        (0..200).for_each(|_| assert_eq!(rig.buffer.stats().balance(), 0));
    });
    rig.pass_time_until("all is settled", || {
        let stats = rig.buffer.stats();
        assert_eq!(stats.balance(), 0);
        stats.pending + stats.in_flight == 0
    });
    let stats = rig.buffer.stats();
    assert_eq!(stats.accepted, 4_000);
    assert_eq!(stats.flushed + stats.gave_up + stats.removed, 4_000);
}

fn c05_rejected_inserts_come_back_and_are_counted_apart(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_keys(1));
    rig.insert("first", 1);
    let error = rig.buffer.insert("second", 2).expect_err("it is full");
    assert_eq!(error.into_rejected(), ("second", 2));
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.balance()), (1, 1, 0));
}

fn c06_an_insert_during_a_flush_goes_to_the_next_generation(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, batch| {
        if batch.entries()[0].data() == &[1] {
            sink.buffer().insert("key", 2).expect("there is room");
        }
        Ok(())
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.pass_time_until("both are flushed", || rig.sink.flushed().len() == 2);
    assert_eq!(rig.sink.flushed(), [("key", vec![1]), ("key", vec![2])]);
    assert!(rig.sink.calls()[1].at >= secs(5), "the second has an interval of its own");
}

fn c06_concurrent_inserts_land_in_exactly_one_generation(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.partitions(2));
    thread::scope(|scope| {
        for thread in 0..4 {
            let rig = &rig;
            scope.spawn(move || (0..2_000).for_each(|item| rig.insert(item % 3, thread * 2_000 + item)));
        }
        for _ in 0..200 {
            rig.buffer.flush_all();
            rig.advance(ms(1));
        }
    });
    rig.buffer.flush_all_and_wait(secs(30)).expect("everything is flushed");
    let mut items: Vec<u32> = rig.sink.flushed().into_iter().flat_map(|(_, items)| items).collect();
    items.sort_unstable();
    assert_eq!(items, (0..8_000).collect::<Vec<_>>());
}

fn c07_a_key_is_never_in_flight_twice(driver: Driver) {
    let sink = Script::keys(|_, _: &u32, items: &Vec<u32>| match items[0] % 3 {
        0 => Err("down".into()),
        _ => Ok(()),
    });
    let retry = steady().attempts(3).delay(ms(5));
    let rig = Rig::with(driver, sink, |builder| builder.flush_at_count(2).retry(retry).max_batch_keys(2));
    for item in 0..1_000 {
        rig.insert(item % 4, item);
        rig.advance(ms(1));
    }
    rig.pass_time_until("all is settled", || {
        let stats = rig.buffer.stats();
        stats.pending + stats.in_flight == 0
    });
    assert_eq!(rig.sink.overlaps(), 0);
}

fn c07_data_reaches_the_sink_in_insert_order(driver: Driver) {
    let tries = AtomicU64::new(0);
    let sink = Script::batches(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => Err("down".to_owned().into()),
        _ => Ok(()),
    });
    let retry = steady().delay(ms(5));
    let rig = Rig::<u32, Vec<u32>>::with(driver, sink, |builder| builder.flush_at_count(3).retry(retry));
    for item in 0..500 {
        (0..3).for_each(|key| rig.insert(key, item));
        rig.advance(ms(1));
    }
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 1_500);
    for key in 0..3 {
        let of_key = rig.sink.flushed().into_iter().filter(|(flushed, _)| *flushed == key);
        let items: Vec<u32> = of_key.flat_map(|(_, items)| items).collect();
        assert_eq!(items, (0..500).collect::<Vec<_>>());
    }
}

fn c07_a_retrying_generation_holds_the_next_one_back(driver: Driver) {
    let rig = Lists::with(driver, fails(2), |builder| builder.interval(ms(100)));
    rig.insert("key", 1);
    rig.pass_time_until("the first attempt has failed", || rig.buffer.stats().retries == 1);
    rig.insert("key", 2);
    rig.buffer.flush("key");
    rig.pass_time_until("both are flushed", || rig.sink.flushed().len() == 2);
    let data: Vec<_> = rig.sink.calls().into_iter().map(|call| call.entries[0].1.clone()).collect();
    assert_eq!(data, [[1], [1], [1], [2], [2], [2]]);
}

fn c08_an_unknown_outcome_is_resent_unchanged_under_the_same_id(driver: Driver) {
    let rig = Lists::with(driver, fails(3), |builder| builder);
    rig.insert("a", 1);
    rig.insert("b", 1);
    rig.buffer.flush_all();
    rig.pass_time_until("every attempt of the first batch", || {
        rig.insert("a", 2);
        rig.insert("c", 2);
        rig.sink.flushed().len() >= 2
    });
    let calls = rig.sink.calls();
    let of_first: Vec<_> = calls.iter().filter(|call| call.id == calls[0].id).collect();
    assert_eq!(of_first.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(of_first.iter().all(|call| call.entries == calls[0].entries), "the content has changed");
}

fn c08_a_single_key_keeps_its_id_over_its_attempts(driver: Driver) {
    use std::sync::{Arc, Mutex};
    use write_behind::{BatchId, FlushEvent, Observer};

    struct Ids(Arc<Mutex<Vec<(BatchId, u32)>>>);
    impl Observer for Ids {
        fn flush_started(&self, flush: &FlushEvent<'_>) {
            self.0.lock().unwrap().push((flush.batch, flush.attempt));
        }
    }

    let ids = Arc::default();
    let observer = Ids(Arc::clone(&ids));
    let sink = Script::keys(|_, _, _| Err("down".into()));
    let rig = Lists::with(driver, sink, |builder| builder.observer(observer));
    rig.insert("key", 1);
    rig.pass_time_until("it is given up", || rig.sink.given_up().len() == 1);
    let ids = ids.lock().unwrap();
    let id = ids[0].0;
    assert_eq!(*ids, [(id, 1), (id, 2), (id, 3), (id, 4)]);
}

/// The sink may have recorded the first id together with what it applied.
fn c08_a_key_named_as_failed_goes_on_under_a_new_id(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 => FlushError::entries([batch.entries()[0].failed(FlushError::not_applied("this one"))]),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("alone", 1);
    rig.buffer.flush_all();
    rig.pass_time_until("it is flushed", || rig.sink.flushed().len() == 1);
    let calls = rig.sink.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].id > calls[0].id, "{calls:?}");
}

fn c08_only_what_was_not_applied_is_split(driver: Driver) {
    let sink = Script::batches(|_, batch| match (batch.attempt(), batch.len()) {
        (1, _) => Err(FlushError::unknown("lost answer".to_owned())),
        // The first attempt may yet have been applied.
        (2, 4) => Err(FlushError::not_applied("rolled back".to_owned())),
        (_, 4) => Err(FlushError::never_applied("void".to_owned())),
        (_, 2) => Err(FlushError::not_applied("rolled back".to_owned())),
        _ => Ok(()),
    });
    let retry = steady().attempts(5);
    let rig = Lists::with(driver, sink, |builder| builder.retry(retry).partitions(1));
    for key in ["a", "b", "c", "d"] {
        rig.insert(key, 1);
    }
    // In one partition, so that all of them are due at one instant and leave together.
    rig.buffer.flush_all();
    rig.pass_time_until("all is flushed", || rig.sink.flushed().len() == 4);
    let calls = rig.sink.calls();
    let shape: Vec<_> = calls.iter().map(|call| (call.attempt, call.entries.len())).collect();
    let halves = [(4, 2), (4, 2)];
    let singles = [(5, 1), (5, 1), (5, 1), (5, 1)];
    assert_eq!(shape, [&[(1, 4), (2, 4), (3, 4)], &halves[..], &singles].concat());
    assert!(calls[0].id == calls[1].id && calls[1].id == calls[2].id, "the same content, the same id");
    let parts: std::collections::BTreeSet<_> = calls[2..].iter().map(|call| call.id).collect();
    assert_eq!(parts.len(), 7, "a part has an id of its own");
}

fn c09_reads_tell_pending_and_in_flight_apart(driver: Driver) {
    let sink = Script::batches(down);
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady()));
    rig.insert("key", 5);
    rig.insert("key", 5);
    rig.buffer.flush("key");
    rig.eventually("it is in flight", || rig.buffer.stats().retries == 1);
    rig.insert("key", 7);
    let count = rig.buffer.count("key");
    assert_eq!((count.pending, count.in_flight, count.total()), (1, 2, 3));
    let peek = rig.buffer.peek("key");
    assert_eq!(peek.pending, [Sum(7)]);
    let id = rig.sink.calls()[0].id;
    assert_eq!(peek.in_flight, Some((Sum(10), id)));
    assert_eq!(peek.iter().collect::<Vec<_>>(), [&Sum(10), &Sum(7)]);
    assert_eq!(rig.buffer.total("key"), Some(17));
    assert!(rig.buffer.contains("key") && !rig.buffer.contains("other"));
    rig.insert("key", 1);
    let later = rig.buffer.peek("key");
    assert!(peek != later && peek.stayed_until(&later), "more has come, and nothing has gone");
}

fn c09_a_look_that_a_flush_came_after_did_not_stay(driver: Driver) {
    let rig = Lists::with(driver, fails(0), |builder| builder);
    rig.insert("key", 5);
    let before = rig.buffer.peek("key");
    assert!(before.stayed_until(&rig.buffer.peek("key")));
    rig.buffer.flush_and_wait("key", secs(10)).unwrap();
    rig.insert("key", 5);
    let after = rig.buffer.peek("key");
    assert!(before == after && !before.stayed_until(&after), "it looks the same, and is not");
}

fn c09_a_look_that_a_rest_came_after_did_not_stay(driver: Driver) {
    let rig = Lists::with(driver, fails(0), |builder| builder.hibernate_after(secs(1)));
    rig.insert("key", 5);
    let before = rig.buffer.peek("key");
    rig.buffer.flush_and_wait("key", secs(10)).unwrap();
    // The partition is given back, and with it what it has counted.
    rig.pass_time_until("it rests", || rig.buffer.stats().hibernating);
    rig.insert("key", 5);
    let after = rig.buffer.peek("key");
    assert!(before == after && !before.stayed_until(&after), "it looks the same, and is not");
}

fn c09_flush_and_wait_covers_retrying_data(driver: Driver) {
    let rig = Lists::with(driver, fails(1), |builder| builder.retry(steady().attempts(4).delay(ms(0))));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it is in flight", || !rig.sink.calls().is_empty());
    rig.insert("key", 2);
    rig.buffer.flush_and_wait("key", secs(60)).expect("both are flushed");
    assert_eq!(rig.sink.flushed(), [("key", vec![1]), ("key", vec![2])]);
}

fn c09_flush_and_wait_returns_the_real_error(driver: Driver) {
    let rig = Lists::with(driver, Script::batches(down), |builder| builder.retry(RetryPolicy::never()));
    rig.insert("key", 1);
    let error = rig.buffer.flush_and_wait("key", secs(60)).expect_err("the sink is down");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!((error.to_string(), source), ("the flush failed".to_owned(), Some("down".to_owned())));
    let FlushWaitError::Failed(cause) = &error else { panic!("{error:?}") };
    assert_eq!(cause.error().expect("the sink's own error").to_string(), "down");
}

fn c09_flush_and_wait_covers_a_total_that_was_closed_early(driver: Driver) {
    let sink = Script::batches(|_, _| Ok(()));
    let rig = Totals::with(driver, sink, |builder| builder.interval(secs(3_600)));
    rig.insert("key", i64::MAX);
    rig.insert("key", 1);
    let waited = rig.while_time_passes(|buffer| buffer.flush_and_wait("key", secs(600)));
    waited.expect("both generations were asked for");
    assert_eq!(rig.sink.flushed(), [("key", Sum(i64::MAX)), ("key", Sum(1))]);
}

fn c09_flush_all_and_wait_covers_data_in_flight(driver: Driver) {
    let sink = fails(1).on_error(|_, _| Verdict::Forget);
    let rig = Lists::with(driver, sink, |builder| builder.retry(steady().attempts(4).delay(ms(0))));
    rig.insert("in flight", 1);
    rig.buffer.flush("in flight");
    rig.eventually("it is in flight", || !rig.sink.calls().is_empty());
    rig.insert("pending", 2);
    rig.buffer.flush_all_and_wait(secs(60)).expect("all is flushed");
    assert_eq!(rig.sink.flushed().len(), 2);
}

/// A request that came before the next insert does not wait for what was inserted after it.
fn c09_flush_and_wait_does_not_wait_for_newer_data(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.buffer.flush_and_wait("key", secs(60)));
        gate.await_arrivals(1);
        rig.insert("key", 2);
        gate.open();
        waiting.join().unwrap().expect("the first generation is flushed");
    });
    assert_eq!(rig.buffer.count("key").pending, 1);
}
