//! A pause: nothing is flushed, and nothing is lost.

use write_behind::{FlushWaitError, InsertErrorKind};

use crate::support::{Driver, Gate, Rig, Script, ms, secs};

each_driver! {
    while_paused_nothing_is_flushed_and_afterwards_what_is_due_leaves_at_once,
    retries_wait_for_the_end_of_a_pause,
    shutdown_ends_a_pause_and_nothing_is_lost,
}

each_concurrent_driver! {
    a_callback_that_runs_when_the_pause_begins_is_the_last_one,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn while_paused_nothing_is_flushed_and_afterwards_what_is_due_leaves_at_once(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)).flush_at_count(3).max_keys(2));
    rig.buffer.pause();
    rig.buffer.pause();
    for round in 0..4 {
        rig.insert("key", round);
        rig.advance(secs(10));
    }
    rig.buffer.flush_all();
    rig.advance(secs(100));
    let stats = rig.buffer.stats();
    assert_eq!((stats.flushes, stats.pending, stats.in_flight, stats.paused), (0, 4, 0, true));
    // Bounds are kept.
    rig.insert("other", 1);
    assert_eq!(rig.buffer.insert("third", 1).unwrap_err().kind, InsertErrorKind::Full);
    let waited = rig.while_time_passes(|buffer| buffer.flush_and_wait("key", secs(1)));
    assert!(matches!(waited, Err(FlushWaitError::TimedOut(_))), "{waited:?}");
    let before = rig.clock.now();
    rig.buffer.resume();
    rig.eventually("what is due leaves", || rig.sink.flushed().contains(&("key", vec![0, 1, 2, 3])));
    assert_eq!(rig.clock.now(), before);
    rig.pass_time_until("and the rest in its time", || rig.buffer.stats().flushed == 5);
    assert!(!rig.buffer.stats().paused);
}

fn retries_wait_for_the_end_of_a_pause(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 => Err("away".into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.interval(secs(1)));
    rig.insert("key", 1);
    rig.pass_time_until("it has failed", || rig.buffer.stats().retries == 1);
    rig.buffer.pause();
    rig.advance(secs(100));
    assert_eq!(rig.buffer.stats().flushes, 1);
    rig.buffer.resume();
    rig.eventually("the second attempt", || rig.buffer.stats().flushed == 1);
}

fn shutdown_ends_a_pause_and_nothing_is_lost(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(1)));
    rig.insert("due", 1);
    rig.buffer.pause();
    rig.advance(secs(2));
    rig.insert("pending", 2);
    rig.while_time_passes(|buffer| buffer.shutdown(secs(60))).expect("all is delivered");
    assert_eq!(rig.buffer.stats().flushed, 2);
    rig.buffer.pause();
    assert!(!rig.buffer.stats().paused, "there is nothing to pause");
}

fn a_callback_that_runs_when_the_pause_begins_is_the_last_one(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig =
        Rig::<u32, Vec<u32>>::with(driver, sink, |builder| builder.flush_concurrency(1).max_batch_keys(1));
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    gate.await_arrivals(1);
    rig.buffer.pause();
    gate.open();
    rig.eventually("it comes back", || rig.buffer.stats().flushed == 1);
    rig.eventually("its worker is gone", || rig.buffer.stats().workers == 0);
    rig.advance(ms(500));
    assert_eq!((rig.buffer.stats().flushes, rig.buffer.stats().flushed), (1, 1));
    rig.buffer.resume();
    rig.eventually("all others", || rig.buffer.stats().flushed == 10);
}
