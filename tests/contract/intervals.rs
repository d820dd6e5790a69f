//! Line 1, with intervals that differ from one generation to the next: by a policy, or by how many
//! inserts there are.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{FlushError, FlushReason, IntervalPolicy, Sum, Verdict};

use crate::support::{Driver, Rig, Script, ms, secs};

each_driver! {
    c01_a_policy_decides_how_long_each_generation_stays,
    c01_a_policy_is_asked_once_per_generation_and_when_data_is_put_back,
    c01_a_policy_is_held_between_a_tick_and_the_interval,
    c01_jitter_is_added_to_what_a_policy_says,
    c01_a_policy_that_panics_loses_nothing,
    c01_a_generation_with_many_inserts_leaves_sooner,
    c01_a_step_whose_time_is_over_makes_due_at_once,
    c01_a_step_never_pushes_a_deadline_back,
    c01_steps_count_for_each_generation_anew,
    c01_steps_count_for_what_begins_while_its_key_is_in_flight,
    c01_jitter_is_added_to_steps,
    c13_data_that_is_put_back_begins_with_its_fresh_deadline_whatever_steps_it_has_passed,
}

type Lists = Rig<&'static str, Vec<u32>>;
type Totals = Rig<&'static str, Sum<u32>>;

/// When each key was first handed to the sink.
fn first_flushes<V: write_behind::Aggregate + Clone>(
    rig: &Rig<&'static str, V>,
) -> Vec<(&'static str, Duration)> {
    let calls = rig.sink.calls().into_iter();
    calls.flat_map(|call| call.entries.into_iter().map(move |(key, _)| (key, call.at))).collect()
}

/// Sure to be flushed at `at` and not before.
fn flushes_at<V: write_behind::Aggregate + Clone>(rig: &Rig<&'static str, V>, at: Duration) {
    let before = rig.sink.calls().len();
    rig.advance(at - ms(1) - rig.clock.now());
    assert_eq!(rig.sink.calls().len(), before, "flushed before {at:?}");
    rig.advance(ms(1));
    rig.eventually("the flush", || {
        let calls = rig.sink.calls();
        calls.len() == before + 1 && calls[before].acknowledged.is_some()
    });
    assert_eq!(rig.sink.calls()[before].at, at);
}

fn c01_a_policy_decides_how_long_each_generation_stays(driver: Driver) {
    let policy = |key: &&'static str, amount: &Sum<u32>, _: Duration| match *key {
        "seconds" => secs(amount.0.into()),
        _ => secs(7),
    };
    let rig = Totals::start(driver, |builder| builder.interval(secs(10)).interval_policy(policy));
    rig.insert("any", 1);
    rig.insert("seconds", 2);
    rig.insert("seconds", 4);
    flushes_at(&rig, secs(2));
    rig.insert("seconds", 3);
    flushes_at(&rig, secs(5));
    flushes_at(&rig, secs(7));
    assert_eq!(first_flushes(&rig), [("seconds", secs(2)), ("seconds", secs(5)), ("any", secs(7))]);
    assert!(rig.sink.calls().iter().all(|call| call.reason == FlushReason::Deadline));
}

/// What a policy was asked: about which data, and when.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Question>>>);

type Question = (Vec<u32>, Duration);

impl IntervalPolicy<&'static str, Vec<u32>> for Asked {
    fn interval(&self, _: &&'static str, data: &Vec<u32>, now: Duration) -> Duration {
        self.0.lock().unwrap().push((data.clone(), now));
        secs(1)
    }
}

fn c01_a_policy_is_asked_once_per_generation_and_when_data_is_put_back(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, letter| Verdict::Requeue(letter));
    let asked = Asked::default();
    let rig = Lists::with(driver, sink, |builder| builder.interval_policy(asked.clone()));
    (1..=3).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(1));
    rig.eventually("it is put back", || rig.buffer.stats().pending == 3);
    rig.insert("key", 4);
    flushes_at(&rig, secs(2));
    let asked = asked.0.lock().unwrap();
    assert_eq!([&asked[0].0, &asked[1].0], [&vec![1], &vec![1, 2, 3]]);
    assert_eq!((asked[1].1 - asked[0].1, asked.len()), (secs(1), 2));
}

fn c01_a_policy_is_held_between_a_tick_and_the_interval(driver: Driver) {
    let policy = |_: &&'static str, amount: &Sum<u32>, _: Duration| match amount.0 {
        0 => Duration::ZERO,
        _ => Duration::MAX,
    };
    let rig = Totals::start(driver, |builder| builder.interval(secs(10)).interval_policy(policy));
    rig.insert("none", 0);
    rig.insert("all", 1);
    flushes_at(&rig, ms(1));
    flushes_at(&rig, secs(10));
    assert_eq!(first_flushes(&rig), [("none", ms(1)), ("all", secs(10))]);
}

fn c01_jitter_is_added_to_what_a_policy_says(driver: Driver) {
    let rig = Rig::<u32, Sum<u32>>::start(driver, |builder| {
        builder
            .interval(secs(100))
            .jitter(secs(4))
            .interval_policy(|_: &u32, _: &Sum<u32>, _: Duration| secs(5))
    });
    (0..200).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("every key is flushed", || rig.sink.flushed().len() == 200);
    let at: Vec<Duration> = rig.sink.calls().iter().map(|call| call.at).collect();
    assert!(at.iter().all(|&at| at >= secs(5)), "before the interval was over");
    assert!(at.iter().any(|&at| at >= secs(7)), "nothing was added");
    assert!(driver != Driver::Inline || at.iter().all(|&at| at <= ms(9_050)));
}

fn c01_a_policy_that_panics_loses_nothing(driver: Driver) {
    let policy = |key: &&'static str, _: &Vec<u32>, _: Duration| match *key {
        "bad" => resume_unwind(Box::new("the policy panics")),
        _ => secs(1),
    };
    let rig = Lists::start(driver, |builder| builder.interval(secs(5)).interval_policy(policy).partitions(1));
    rig.insert("bad", 1);
    rig.insert("good", 2);
    rig.insert("bad", 3);
    flushes_at(&rig, secs(1));
    flushes_at(&rig, secs(5));
    assert_eq!(rig.sink.flushed(), [("good", vec![2]), ("bad", vec![1, 3])]);
    assert_eq!((rig.buffer.stats().panics, rig.buffer.stats().balance()), (1, 0));
}

/// At most 10 s, 5 s from the third insert on, 1 s from the fifth.
fn stepped(driver: Driver) -> Lists {
    Lists::start(driver, |builder| {
        builder
            .interval(secs(10))
            .interval_at_count(5, secs(1))
            .interval_at_count(3, secs(5))
            .flush_at_count(8)
    })
}

fn c01_a_generation_with_many_inserts_leaves_sooner(driver: Driver) {
    for (inserts, at) in
        [(1, secs(10)), (2, secs(10)), (3, secs(5)), (4, secs(5)), (5, secs(1)), (7, secs(1))]
    {
        let rig = stepped(driver);
        (0..inserts).for_each(|item| rig.insert("key", item));
        flushes_at(&rig, at);
        assert_eq!(rig.sink.calls()[0].reason, FlushReason::Deadline);
    }
    let rig = stepped(driver);
    (0..8).for_each(|item| rig.insert("key", item));
    rig.eventually("the flush by size", || !rig.sink.calls().is_empty());
    assert_eq!((rig.sink.calls()[0].reason, rig.clock.now()), (FlushReason::Size, secs(0)));
}

fn c01_a_step_whose_time_is_over_makes_due_at_once(driver: Driver) {
    let rig = stepped(driver);
    (0..3).for_each(|item| rig.insert("key", item));
    rig.advance(secs(4));
    rig.insert("key", 3);
    assert_eq!(rig.sink.calls().len(), 0);
    rig.insert("key", 4);
    rig.eventually("the flush", || !rig.sink.calls().is_empty());
    let call = &rig.sink.calls()[0];
    assert_eq!((call.at, call.reason, call.entries[0].1.len()), (secs(4), FlushReason::Deadline, 5));
}

fn c01_a_step_never_pushes_a_deadline_back(driver: Driver) {
    let policy = |_: &&'static str, _: &Vec<u32>, _: Duration| secs(2);
    let rig = Lists::start(driver, |builder| {
        builder
            .interval(secs(10))
            .interval_policy(policy)
            .interval_at_count(2, secs(5))
            .interval_at_count(3, secs(1))
    });
    rig.insert("key", 1);
    rig.insert("key", 2);
    flushes_at(&rig, secs(2));
    (1..=3).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(3));
}

fn c01_steps_count_for_each_generation_anew(driver: Driver) {
    let rig = stepped(driver);
    (0..3).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(5));
    rig.advance(secs(1));
    rig.insert("key", 3);
    rig.advance(secs(2));
    (4..6).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(11));
    assert_eq!(rig.buffer.remove("key"), Vec::<Vec<u32>>::new());
    (6..8).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(21));
}

/// The older total waits for its retry, and the newest one behind it reaches a step meanwhile.
fn c01_steps_count_for_what_begins_while_its_key_is_in_flight(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Sum<u32>>, _| match sink.calls().len() {
        1 => Err("not yet".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Totals::with(driver, sink, |builder| builder.interval(secs(10)).interval_at_count(3, secs(5)));
    rig.insert("key", u32::MAX);
    rig.buffer.flush("key");
    rig.eventually("the first attempt has failed", || rig.buffer.stats().failures == 1);
    rig.insert("key", u32::MAX);
    (0..3).for_each(|_| rig.insert("key", 1));
    // The retry, and then what was closed.
    rig.pass_time_until("the older ones are flushed", || rig.sink.flushed().len() == 2);
    rig.pass_time_until("the newest is flushed", || rig.sink.flushed().len() == 3);
    let last = rig.sink.calls().pop().expect("a call");
    assert_eq!((last.entries, last.reason), (vec![("key", Sum(3))], FlushReason::Deadline));
    assert!(last.at >= secs(5) && last.at < secs(7), "{:?}", last.at);
}

fn c01_jitter_is_added_to_steps(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| {
        builder.interval(secs(100)).jitter(secs(4)).interval_at_count(2, secs(5))
    });
    (0..400).for_each(|insert| rig.insert(insert % 200, insert));
    rig.pass_time_until("every key is flushed", || rig.sink.flushed().len() == 200);
    let at: Vec<Duration> = rig.sink.calls().iter().map(|call| call.at).collect();
    assert!(at.iter().all(|&at| at >= secs(5)), "before the step's time was over");
    assert!(at.iter().any(|&at| at >= secs(7)), "nothing was added");
    assert!(driver != Driver::Inline || at.iter().all(|&at| at <= ms(9_050)));
}

fn c13_data_that_is_put_back_begins_with_its_fresh_deadline_whatever_steps_it_has_passed(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, letter| Verdict::Requeue(letter));
    let rig = Lists::with(driver, sink, |builder| {
        builder.interval(secs(10)).interval_at_count(3, secs(5)).interval_at_count(5, secs(1))
    });
    (0..3).for_each(|item| rig.insert("key", item));
    flushes_at(&rig, secs(5));
    rig.eventually("it is put back", || rig.buffer.stats().pending == 3);
    rig.insert("key", 3);
    rig.advance(ms(1_500));
    assert_eq!(rig.sink.calls().len(), 1);
    // The next step counts from when it was put back, and is over already.
    rig.insert("key", 4);
    rig.eventually("it gets through", || rig.sink.calls().len() == 2);
    assert_eq!(rig.clock.now(), ms(6_500));
}
