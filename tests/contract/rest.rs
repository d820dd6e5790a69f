//! Lines 20 to 22, and 16: rest, isolation, fake time, settings.

use std::time::Duration;

use write_behind::{Buffer, BuildError, Builder, Overflow, RetryPolicy, Sum};

use crate::support::{Call, Driver, Rig, Script, ms, secs, steady};

each_driver! {
    c16_every_bad_setting_is_refused_by_name,
    c20_the_buffer_goes_to_rest_when_it_has_nothing,
    c20_the_insert_that_wakes_it_is_as_durable_as_any,
    c20_a_retrying_key_keeps_it_awake,
    c21_two_buffers_never_interfere,
    c22_a_day_passes_without_sleeping,
}

type Lists = Rig<&'static str, Vec<u32>>;
type Settings = Builder<&'static str, Vec<u32>>;

fn c16_every_bad_setting_is_refused_by_name(driver: Driver) {
    for (option, builder) in
        bad_sizes().into_iter().chain(bad_times()).chain(bad_policies()).chain(bad_steps())
    {
        match Rig::try_with(driver, Script::accepting(), |_| builder).map(|rig| rig.driver) {
            Err(error @ BuildError::Invalid { option: named, .. }) => {
                assert_eq!(named, option);
                assert!(error.to_string().contains(option));
            }
            other => panic!("{option}: {other:?}"),
        }
    }
}

fn bad_sizes() -> [(&'static str, Settings); 9] {
    [
        ("partitions", Buffer::builder().partitions(0)),
        ("partitions", Buffer::builder().partitions(65_537)),
        ("flush_at_count", Buffer::builder().flush_at_count(0)),
        ("flush_all_at_count", Buffer::builder().flush_all_at_count(0)),
        ("max_batch_keys", Buffer::builder().max_batch_keys(0)),
        ("flush_concurrency", Buffer::builder().flush_concurrency(0)),
        ("flush_concurrency", Buffer::builder().flush_concurrency(1_025)),
        ("max_keys", Buffer::builder().max_keys(0)),
        ("max_weight", Buffer::builder().max_weight(0)),
    ]
}

fn bad_times() -> [(&'static str, Settings); 8] {
    let day = secs(24 * 60 * 60);
    [
        ("interval", Buffer::builder().interval(Duration::ZERO)),
        ("interval", Buffer::builder().interval(Duration::MAX)),
        ("jitter", Buffer::builder().jitter(Duration::MAX)),
        ("linger", Buffer::builder().linger(Duration::from_secs(6))),
        ("linger", Buffer::builder().interval(7 * day).linger(6 * day)),
        ("jitter", Buffer::builder().interval(7 * day).jitter(6 * day)),
        ("hibernate_after", Buffer::builder().hibernate_after(Duration::MAX)),
        ("flush_timeout", Buffer::builder().flush_timeout(Duration::ZERO)),
    ]
}

fn bad_policies() -> [(&'static str, Settings); 6] {
    [
        ("overflow", Buffer::builder().overflow(Overflow::Block { timeout: Duration::ZERO })),
        ("overflow", Buffer::builder().overflow(Overflow::FlushOldest { timeout: Duration::ZERO })),
        ("retry", Buffer::builder().retry(RetryPolicy::new().attempts(0))),
        ("retry", Buffer::builder().retry(RetryPolicy::new().factor(0.5))),
        ("retry", Buffer::builder().retry(RetryPolicy::new().jitter(2.0))),
        ("retry", Buffer::builder().retry(RetryPolicy::new().cap(Duration::MAX))),
    ]
}

fn bad_steps() -> [(&'static str, Settings); 7] {
    let at = |inserts, within| Buffer::builder().interval(secs(10)).interval_at_count(inserts, within);
    [
        ("interval_at_count", at(1, secs(5))),
        ("interval_at_count", at(2, Duration::ZERO)),
        ("interval_at_count", at(2, secs(10))),
        ("interval_at_count", at(2, secs(5)).interval_at_count(2, secs(4))),
        ("interval_at_count", at(3, secs(4)).interval_at_count(2, secs(4))),
        ("interval_at_count", at(3, secs(5)).interval_at_count(2, secs(4))),
        ("interval_at_count", at(10, secs(5)).flush_at_count(10)),
    ]
}

fn c20_the_buffer_goes_to_rest_when_it_has_nothing(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(1)).hibernate_after(secs(10)));
    rig.insert("key", 1);
    rig.pass_time_until("it is flushed", || rig.buffer.stats().flushed == 1);
    let flushed_at = rig.clock.now();
    assert!(!rig.buffer.stats().hibernating);
    rig.pass_time_until("it rests", || rig.buffer.stats().hibernating);
    assert!(rig.clock.now() >= flushed_at + secs(9));
    rig.eventually("the workers have left", || rig.buffer.stats().workers == 0);
}

fn c20_the_insert_that_wakes_it_is_as_durable_as_any(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.hibernate_after(Duration::ZERO));
    for round in 1..=20 {
        rig.eventually("it rests", || rig.buffer.stats().hibernating);
        rig.insert("key", round);
        let inserted_at = rig.clock.now();
        rig.pass_time_until("it is flushed", || rig.buffer.stats().flushed == u64::from(round));
        let call = rig.sink.calls().pop().expect("a call");
        assert!(call.at >= inserted_at + secs(5));
    }
}

fn c20_a_retrying_key_keeps_it_awake(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let retry = steady().delay(secs(20));
    let rig = Lists::with(driver, sink, |builder| builder.retry(retry).hibernate_after(secs(1)));
    rig.insert("key", 1);
    rig.pass_time_until("it waits for its retry", || rig.buffer.stats().retries == 1);
    rig.advance(secs(10));
    rig.eventually("time has moved", || rig.clock.now() >= secs(15));
    assert!(!rig.buffer.stats().hibernating);
    rig.pass_time_until("it is tried again", || rig.buffer.stats().retries == 2);
}

fn c21_two_buffers_never_interfere(driver: Driver) {
    let sick = Script::batches(|_, _| Err("down".to_owned().into()));
    let (one, other) =
        (Lists::with(driver, sick, |builder| builder), Lists::start(driver, |builder| builder));
    one.insert("key", 1);
    other.insert("key", 2);
    other.buffer.flush_and_wait("key", secs(60)).expect("its own sink is fine");
    assert_eq!(other.sink.flushed(), [("key", vec![2])]);
    assert_eq!(one.buffer.count("key").pending, 1);
    let _ = one.buffer.shutdown(ms(0));
    other.insert("key", 3);
    assert!(!other.buffer.is_closed());
}

#[test]
fn c21_one_buffers_sink_may_wait_for_another_buffer() {
    [Driver::Threads, Driver::Inline].into_iter().for_each(may_wait_for_another_buffer);
}

fn may_wait_for_another_buffer(driver: Driver) {
    let inner = Lists::start(driver, |builder| builder);
    let buffer = inner.buffer.clone();
    let sink = Script::batches(move |_, _| {
        buffer.insert("inner", 1).expect("there is room");
        match buffer.flush_and_wait("inner", ms(0)) {
            Err(write_behind::FlushWaitError::WouldDeadlock) => panic!("it is another buffer"),
            _ => Ok(()),
        }
    });
    let outer = Lists::with(driver, sink, |builder| builder);
    outer.insert("outer", 1);
    outer.buffer.flush("outer");
    outer.eventually("the outer is flushed", || outer.buffer.stats().flushed == 1);
    inner.eventually("the inner is flushed", || inner.buffer.stats().flushed == 1);
    assert_eq!(outer.buffer.stats().panics, 0);
}

fn c22_a_day_passes_without_sleeping(driver: Driver) {
    let rig = Rig::<&'static str, Sum<i64>>::start(driver, |builder| builder.interval(secs(3_600)));
    let mut hours = 0;
    while hours < 24 {
        rig.insert("clicks", 1);
        rig.advance(secs(3_600));
        hours += 1;
        rig.eventually("the hour's flush", || rig.buffer.stats().flushed == hours);
    }
    assert_eq!(rig.clock.now(), secs(24 * 3_600));
    assert_eq!(rig.sink.flushed(), [("clicks", Sum(1)); 24]);
}

/// Jitter, backoff jitter and the order of batches are the same in every run of the same seed. The
/// hash of the keys is not seeded, so there is one partition.
#[test]
fn c22_a_seeded_run_repeats_itself() {
    assert_eq!(seeded_run(1), seeded_run(1));
    assert_ne!(seeded_run(1), seeded_run(2));
}

type Attempts = Vec<(Duration, u32, Vec<(u32, Vec<u32>)>)>;

fn seeded_run(seed: u64) -> Attempts {
    let sink = Script::batches(|_, batch| match batch.entries()[0].key() % 3 {
        0 => Err("down".to_owned().into()),
        _ => Ok(()),
    });
    let retry = RetryPolicy::new().factor(2.0).jitter(0.5);
    let rig = Rig::<u32, Vec<u32>>::with(Driver::Inline, sink, |builder| {
        builder.partitions(1).jitter(secs(3)).retry(retry).seed(seed)
    });
    for item in 0..200 {
        rig.insert(item % 20, item);
        rig.advance(ms(97));
    }
    rig.advance(secs(60));
    let calls = rig.sink.calls().into_iter();
    calls.map(|Call { at, attempt, entries, .. }| (at, attempt, entries)).collect()
}
