//! Lines 10 to 13: what a sink can do wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use write_behind::{FlushError, RetryPolicy, Sum, UndeliveredState, Verdict};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    c10_a_panic_fails_its_batch_and_nothing_else,
    c10_an_overrun_is_reported_and_its_result_counts,
    c11_a_poison_key_holds_up_no_other,
    c11_bisecting_isolates_a_poison_key_even_when_attempts_are_spent,
    c11_batches_stay_whole_while_nothing_gets_through,
    c11_a_poison_key_is_isolated_though_nothing_else_gets_through,
    c11_a_retry_holds_no_worker,
    c12_handle_error_gets_key_data_error_and_attempts,
    c12_a_panic_in_handle_error_keeps_the_data_for_shutdown,
    c12_what_handle_error_keeps_is_observable_and_returned,
    c12_what_is_given_up_goes_to_handle_error_at_once,
    c13_requeued_data_comes_before_newer_data,
    c13_requeueing_cannot_loop_hot,
    c13_totals_that_cannot_be_merged_stay_apart_and_in_order,
    c13_requeueing_during_shutdown_returns_the_data,
}

each_concurrent_driver! {
    c11_a_slow_handle_error_holds_up_no_other_key,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn c10_a_panic_fails_its_batch_and_nothing_else(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 => panic!("the sink is broken"),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.flush_concurrency(1));
    for round in 0..3 {
        rig.insert("key", round);
        rig.buffer.flush("key");
        rig.pass_time_until("the retry", || rig.buffer.stats().flushed == u64::from(round) + 1);
    }
    assert_eq!(rig.buffer.stats().panics, 3);
}

fn c10_an_overrun_is_reported_and_its_result_counts(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, _| {
        sink.clock().advance(secs(31));
        Ok(())
    });
    let rig = Lists::with(driver, sink, |builder| builder.flush_timeout(secs(30)));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it counts in the end", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.sink.calls().len(), 1, "an overrun is not a failure");
    assert_eq!(rig.sink.overlaps(), 0);
}

fn c11_a_poison_key_holds_up_no_other(driver: Driver) {
    let sink = Script::keys(|_, key: &u32, _: &Vec<u32>| match key {
        13 => Err("poison".into()),
        _ => Ok(()),
    });
    let retry = steady();
    let rig = Rig::with(driver, sink, |builder| builder.flush_concurrency(1).retry(retry));
    for round in 0..3 {
        (0..30).for_each(|key| rig.insert(key, round));
        rig.buffer.flush_all();
        let healthy = 29 * (u64::from(round) + 1);
        rig.eventually("the healthy ones are flushed", || rig.buffer.stats().flushed == healthy);
    }
    assert_eq!(rig.buffer.count(&13).total(), 3);
}

fn c11_bisecting_isolates_a_poison_key_even_when_attempts_are_spent(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.entries().iter().any(|entry| *entry.key() == 13) {
        true => Err(FlushError::not_applied("poison".to_owned())),
        false => Ok(()),
    });
    let rig = Rig::<u32, Vec<u32>>::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    (0..30).for_each(|key| rig.insert(key, key));
    rig.buffer.flush_all();
    rig.pass_time_until("one is given up, 29 are flushed", || {
        let stats = rig.buffer.stats();
        (stats.flushed, stats.gave_up) == (29, 1)
    });
    let given_up: Vec<_> = rig.sink.given_up().into_iter().map(|(key, data, ..)| (key, data)).collect();
    assert_eq!(given_up, [(13, vec![13])]);
}

/// It is the sink then, which gets full batches when it is back.
fn c11_batches_stay_whole_while_nothing_gets_through(driver: Driver) {
    let (away, stored) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let answer = {
        let (away, stored) = (Arc::clone(&away), Arc::clone(&stored));
        move || {
            if away.load(Ordering::Relaxed) {
                return Err(FlushError::not_applied("away"));
            }
            stored.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    };
    let sink = Script::batches(move |_, _| answer());
    let rig = Rig::<u32, Vec<u32>>::with(driver, sink, |builder| {
        builder.flush_concurrency(1).max_batch_keys(10).retry(steady())
    });
    (0..400).for_each(|key| rig.insert(key, key));
    rig.buffer.flush_all();
    rig.pass_time_until("forty batches have been tried ten times", || rig.buffer.stats().failures >= 400);
    // Those that are split before it is clear, and then one a second.
    let split = 4 + rig.clock.now().as_secs() as u32;
    away.store(false, Ordering::Relaxed);
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 400);
    let stored = stored.load(Ordering::Relaxed);
    assert!((40..=40 + split).contains(&stored), "{stored} batches, {split} split");
}

fn c11_a_poison_key_is_isolated_though_nothing_else_gets_through(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.entries().iter().any(|entry| *entry.key() < 100) {
        true => Err(FlushError::not_applied("poison")),
        false => Ok(()),
    });
    let rig = Rig::<u32, Vec<u32>>::with(driver, sink, |builder| {
        builder.flush_concurrency(1).max_batch_keys(2).retry(steady())
    });
    (0..20).for_each(|key| rig.insert(key, key));
    rig.buffer.flush_all();
    rig.pass_time_until("many attempts have failed", || rig.buffer.stats().failures >= 100);
    [20, 100].into_iter().for_each(|key| rig.insert(key, key));
    rig.buffer.flush_all();
    rig.pass_time_until("the healthy one gets through", || rig.buffer.stats().flushed == 1);
}

fn c11_a_retry_holds_no_worker(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.entries()[0].key() {
        &"sick" => Err("later".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| {
        builder.flush_concurrency(1).retry(steady().attempts(4).delay(secs(30)))
    });
    rig.insert("sick", 1);
    rig.buffer.flush("sick");
    rig.eventually("it waits for its retry", || rig.buffer.stats().retries == 1);
    rig.insert("well", 1);
    rig.buffer.flush("well");
    rig.eventually("the other gets through", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.clock.now(), ms(0));
}

fn c12_handle_error_gets_key_data_error_and_attempts(driver: Driver) {
    let attempts = AtomicU32::new(0);
    let sink =
        Script::keys(move |_, _, _| Err(format!("failure {}", attempts.fetch_add(1, Ordering::Relaxed) + 1)));
    let rig = Lists::with(driver, sink, |builder| builder.retry(steady().attempts(3)));
    rig.insert("key", 1);
    rig.insert("key", 2);
    rig.pass_time_until("it is given up", || rig.buffer.stats().gave_up == 2);
    assert_eq!(rig.sink.given_up(), [("key", vec![1, 2], 3, "failure 3".to_owned())]);
    let at: Vec<_> = rig.sink.calls().iter().map(|call| call.at).collect();
    assert!(at.windows(2).all(|pair| pair[1] >= pair[0] + secs(1)), "before the retry's delay: {at:?}");
}

fn c12_a_panic_in_handle_error_keeps_the_data_for_shutdown(driver: Driver) {
    let sink = Script::keys(|_, _, _| Err("down".into())).on_error(|_, _failed| panic!("broken as well"));
    let rig = Lists::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    rig.insert("key", 1);
    rig.insert("key", 2);
    rig.pass_time_until("it is kept", || rig.buffer.stats().undelivered == 2);
    let stats = rig.buffer.stats();
    assert_eq!((stats.in_flight, stats.keys, stats.weight, stats.balance()), (2, 1, 2, 0));
    let error = rig.while_time_passes(|buffer| buffer.shutdown(secs(5))).expect_err("it comes back");
    let mut left = error.into_undelivered().into_iter().collect::<Vec<_>>();
    let undelivered = left.pop().expect("one key");
    assert!(matches!(undelivered.state(), UndeliveredState::GivenUp { attempts: 1, .. }));
    assert_eq!(undelivered.into_parts().expect("nobody else holds it"), ("key", vec![1, 2]));
    assert!(left.is_empty());
    let stats = rig.buffer.stats();
    assert_eq!((stats.returned, stats.keys, stats.weight, stats.balance()), (2, 0, 0, 0));
}

fn c12_what_handle_error_keeps_is_observable_and_returned(driver: Driver) {
    let sink = Script::keys(|_, _, _| Err("down".into())).keeping();
    let rig = Lists::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it is kept", || rig.buffer.stats().undelivered == 1);
    let error = rig.buffer.shutdown(secs(5)).expect_err("it comes back");
    assert_eq!(error.into_undelivered().inserts(), 1);
}

fn c12_what_is_given_up_goes_to_handle_error_at_once(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::not_applied("malformed".to_owned()).give_up()));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it is given up", || rig.buffer.stats().gave_up == 1);
    assert_eq!(rig.sink.given_up(), [("key", vec![1], 1, "malformed".to_owned())]);
}

fn requeueing<V: write_behind::Aggregate + Clone>(times: u32) -> Script<&'static str, V> {
    let failures = AtomicU32::new(0);
    let sink = Script::batches(move |_, _| match failures.fetch_add(1, Ordering::Relaxed) < times {
        true => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        false => Ok(()),
    });
    sink.on_error(|_, letter| Verdict::Requeue(letter))
}

fn c13_requeued_data_comes_before_newer_data(driver: Driver) {
    let sink = requeueing(1).on_error(|sink: &Script<&'static str, Vec<u32>>, letter| {
        sink.buffer().insert("key", 2).expect("there is room");
        Verdict::Requeue(letter)
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    rig.pass_time_until("it gets through", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.sink.flushed(), [("key", vec![1, 2])]);
    rig.eventually("the books are right", || {
        let stats = rig.buffer.stats();
        (stats.flushed, stats.pending, stats.in_flight, stats.weight, stats.keys) == (2, 0, 0, 0, 0)
    });
}

fn c13_requeueing_cannot_loop_hot(driver: Driver) {
    let rig = Lists::with(driver, requeueing(3), |builder| builder.interval(secs(5)).flush_at_count(1));
    rig.insert("key", 1);
    rig.pass_time_until("it gets through", || !rig.sink.flushed().is_empty());
    let at: Vec<_> = rig.sink.calls().iter().map(|call| call.at).collect();
    assert_eq!(at.len(), 4);
    assert!(at.windows(2).all(|pair| pair[1] >= pair[0] + secs(5)), "less than an interval apart: {at:?}");
    assert!(rig.sink.calls().iter().all(|call| call.attempt == 1), "attempts begin afresh");
}

fn c13_totals_that_cannot_be_merged_stay_apart_and_in_order(driver: Driver) {
    let sink = requeueing(1).on_error(|sink: &Script<&'static str, Sum<i64>>, letter| {
        sink.buffer().insert("key", 1).expect("there is room");
        Verdict::Requeue(letter)
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert("key", i64::MAX);
    rig.pass_time_until("both get through", || rig.sink.flushed().len() == 2);
    assert_eq!(rig.sink.flushed(), [("key", Sum(i64::MAX)), ("key", Sum(1))]);
}

fn c13_requeueing_during_shutdown_returns_the_data(driver: Driver) {
    let rig = Lists::with(driver, requeueing(u32::MAX), |builder| builder);
    rig.insert("key", 1);
    let error = rig.while_time_passes(|buffer| buffer.shutdown(secs(5))).expect_err("it comes back");
    let left = error.into_undelivered().into_iter().collect::<Vec<_>>();
    assert_eq!((left[0].key(), left[0].data(), left.len()), (&"key", &vec![1], 1));
    assert_eq!(rig.buffer.stats().balance(), 0);
}

#[test]
fn c10_a_callback_that_overruns_is_overdue_and_still_in_flight() {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(Driver::Threads, sink, |builder| builder.flush_timeout(secs(30)));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    gate.await_arrivals(1);
    assert_eq!(rig.buffer.stats().overdue, 0);
    rig.advance(secs(30));
    rig.eventually("it is overdue", || rig.buffer.stats().overdue == 1);
    rig.insert("key", 2);
    rig.buffer.flush("key");
    assert_eq!(rig.buffer.count("key").in_flight, 1);
    gate.open();
    rig.eventually("both count", || rig.buffer.stats().flushed == 2);
}

fn c11_a_slow_handle_error_holds_up_no_other_key(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, key: &&'static str, _| match *key {
        "sick" => Err("down".into()),
        _ => Ok(()),
    });
    let sink = sink.errors_behind(&gate);
    let rig = Lists::with(driver, sink, |builder| builder.retry(RetryPolicy::never()).flush_concurrency(2));
    rig.insert("sick", 1);
    rig.buffer.flush("sick");
    gate.await_arrivals(1);
    rig.insert("well", 1);
    rig.buffer.flush("well");
    rig.eventually("the other gets through", || rig.buffer.stats().flushed == 1);
    gate.open();
    rig.eventually("and the sick one is settled", || rig.buffer.stats().gave_up == 1);
}

/// A sink that says which keys failed has its answer heard key by key.
#[test]
fn c11_each_key_fails_in_its_own_way() {
    let sink = Script::batches(|_, batch| {
        let failures = batch.entries().iter().filter_map(|entry| match *entry.key() {
            "fatal" => Some(entry.failed(FlushError::unknown("no").give_up())),
            "unknown" if batch.attempt() == 1 => Some(entry.failed("maybe")),
            _ => None,
        });
        FlushError::entries(failures)
    });
    let rig = Lists::with(Driver::Inline, sink, |builder| builder);
    for key in ["fatal", "unknown", "fine"] {
        rig.insert(key, 1);
    }
    rig.buffer.flush_all();
    rig.advance(secs(0));
    let stats = rig.buffer.stats();
    assert_eq!((stats.flushed, stats.gave_up, stats.in_flight), (1, 1, 1));
    rig.advance(secs(1));
    assert_eq!(rig.buffer.stats().flushed, 2);
}
