//! Lines 1 to 4: deadlines.

use std::time::Duration;

use write_behind::FlushReason;

use crate::support::{Driver, Rig, Script, ms, secs};

each_driver! {
    c01_first_insert_arms_the_deadline,
    c01_later_inserts_never_push_the_deadline_back,
    c01_jitter_only_adds_and_spreads,
    c01_what_may_linger_leaves_together_and_never_early,
    c01_a_request_may_come_first,
    c02_an_early_flush_retires_its_deadline,
    c02_a_removed_key_leaves_no_deadline_behind,
    c02_a_thousand_retired_deadlines_flush_nothing,
    c03_a_busy_key_does_not_delay_a_quiet_one,
    c03_new_data_does_not_starve_a_retry,
    c04_intervals_and_retries_run_off_one_schedule,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn c01_first_insert_arms_the_deadline(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)));
    rig.advance(ms(700));
    rig.insert("key", 1);
    rig.advance(ms(4_999));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.advance(ms(1));
    rig.eventually("the flush at the deadline", || !rig.sink.flushed().is_empty());
    let call = &rig.sink.calls()[0];
    assert_eq!((call.at, call.reason), (ms(5_700), FlushReason::Deadline));
}

fn c01_later_inserts_never_push_the_deadline_back(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)));
    for second in 0..5 {
        rig.insert("key", second);
        rig.advance(secs(1));
    }
    rig.eventually("the flush at the deadline", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.clock.now(), secs(5));
    assert_eq!(rig.sink.flushed(), [("key", vec![0, 1, 2, 3, 4])]);
}

fn c01_jitter_only_adds_and_spreads(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.interval(secs(5)).jitter(secs(4)));
    (0..200).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("every key is flushed", || rig.sink.flushed().len() == 200);
    let calls = rig.sink.calls();
    assert!(calls.iter().all(|call| call.at >= secs(5)), "before the interval was over");
    // 200 keys in 4 s: both halves get some, unless chance fails 200 times in a row.
    assert!(driver != Driver::Inline || calls.iter().any(|call| call.at < secs(7)));
    assert!(calls.iter().any(|call| call.at >= secs(7)));
    let latest = calls.iter().map(|call| call.at).max();
    assert!(driver != Driver::Inline || latest <= Some(ms(9_050)), "{latest:?}");
}

fn c01_what_may_linger_leaves_together_and_never_early(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| {
        builder.interval(secs(5)).linger(secs(1)).interval_at_count(3, secs(2)).flush_at_count(9)
    });
    for key in 0..4 {
        rig.advance(ms(300));
        rig.insert(key, 1);
    }
    // Due at 5.3, 5.6, 5.9 and 6.2 s.
    rig.advance(ms(4_799));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.advance(ms(1));
    rig.eventually("three at 6 s", || rig.sink.flushed().len() == 3);
    rig.advance(ms(999));
    assert_eq!(rig.sink.flushed().len(), 3);
    rig.advance(ms(1));
    rig.eventually("and the fourth at 7 s", || rig.sink.flushed().len() == 4);
    assert_eq!(rig.sink.calls().iter().map(|call| call.at).collect::<Vec<_>>(), [secs(6), secs(7)]);
    // A step's time is rounded as well: due at 9.5 s.
    rig.advance(ms(500));
    (0..3).for_each(|_| rig.insert(7, 1));
    rig.advance(ms(2_499));
    assert_eq!(rig.sink.calls().len(), 2);
    rig.advance(ms(1));
    rig.eventually("at 10 s", || rig.sink.calls().len() == 3);
    // What is asked for, or is enough, waits for nobody.
    (0..9).for_each(|_| rig.insert(8, 1));
    rig.eventually("at once", || rig.sink.calls().len() == 4);
    rig.insert(9, 1);
    rig.buffer.flush(&9);
    rig.eventually("at once", || rig.sink.calls().len() == 5);
    assert_eq!(rig.clock.now(), secs(10));
}

fn c01_a_request_may_come_first(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    rig.insert("asked for", 1);
    rig.insert("left alone", 2);
    rig.buffer.flush("asked for");
    rig.eventually("the flush", || !rig.sink.flushed().is_empty());
    assert_eq!(rig.sink.flushed(), [("asked for", vec![1])]);
    assert_eq!(rig.sink.calls()[0].reason, FlushReason::Requested);
}

fn c02_an_early_flush_retires_its_deadline(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)).flush_at_count(2));
    rig.insert("key", 1);
    rig.advance(secs(3));
    rig.insert("key", 2);
    rig.eventually("the flush by size", || !rig.sink.flushed().is_empty());
    rig.advance(secs(1));
    rig.insert("key", 3);
    // The first generation would have been due at 5 s, the second is at 9 s.
    rig.advance(ms(4_999));
    rig.pass_time_until("the second flush", || rig.sink.flushed().len() == 2);
    let calls = rig.sink.calls();
    assert_eq!(calls[0].reason, FlushReason::Size);
    assert!(calls[1].at >= secs(9), "it left with the first one's timer, at {:?}", calls[1].at);
    assert_eq!(calls[1].entries, [("key", vec![3])]);
}

fn c02_a_removed_key_leaves_no_deadline_behind(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)));
    rig.insert("key", 1);
    rig.advance(secs(3));
    assert_eq!(rig.buffer.remove("key"), [vec![1]]);
    rig.insert("key", 2);
    rig.pass_time_until("the flush", || !rig.sink.flushed().is_empty());
    let calls = rig.sink.calls();
    assert_eq!(calls[0].entries, [("key", vec![2])]);
    assert!(calls[0].at >= secs(8), "{:?}", calls[0].at);
}

fn c02_a_thousand_retired_deadlines_flush_nothing(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)));
    for round in 0..1_000 {
        rig.insert("key", round);
        assert_eq!(rig.buffer.remove("key"), [vec![round]]);
    }
    rig.insert("key", 7);
    rig.pass_time_until("the flush", || !rig.sink.flushed().is_empty());
    rig.pass_time_until("the buffer rests", || rig.buffer.stats().hibernating);
    assert_eq!(rig.sink.calls().len(), 1);
}

fn c03_a_busy_key_does_not_delay_a_quiet_one(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.flush_at_count(20).flush_concurrency(1).partitions(1));
    rig.insert("quiet", 0);
    while rig.clock.now() < secs(5) {
        (0..30).for_each(|item| rig.insert("busy", item));
        rig.advance(ms(100));
    }
    // The busy key goes on without a pause; the clock stands still at the quiet one's deadline.
    rig.eventually("the quiet key is flushed", || {
        rig.insert("busy", 1);
        rig.sink.flushed().iter().any(|(key, _)| *key == "quiet")
    });
}

/// With one worker and data falling due all the time, a key that waits for its second attempt still
/// gets it.
fn c03_new_data_does_not_starve_a_retry(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.entries()[0].key() {
        &"sick" if batch.attempt() == 1 => Err("not yet".to_owned().into()),
        _ => Ok(()),
    });
    let rig =
        Lists::with(driver, sink, |builder| builder.flush_at_count(1).flush_concurrency(1).max_batch_keys(1));
    rig.insert("sick", 0);
    rig.eventually("the first attempt has failed", || rig.buffer.stats().failures == 1);
    rig.pass_time_until("the retry", || {
        rig.insert("busy", 1);
        rig.insert("busier", 1);
        rig.sink.flushed().iter().any(|(key, _)| *key == "sick")
    });
}

fn c04_intervals_and_retries_run_off_one_schedule(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 | 2 => Err("not yet".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.interval(secs(3)));
    rig.insert("key", 1);
    rig.pass_time_until("the third attempt", || !rig.sink.flushed().is_empty());
    let at: Vec<Duration> = rig.sink.calls().iter().map(|call| call.at).collect();
    assert!(at[0] >= secs(3) && at[1] >= at[0] + secs(1) && at[2] >= at[1] + secs(1), "{at:?}");
    if driver == Driver::Inline {
        assert_eq!(at, [secs(3), secs(4), secs(5)]);
    }
    rig.pass_time_until("the buffer rests", || rig.buffer.stats().hibernating);
}
