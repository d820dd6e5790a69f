//! Cases from public reports about systems that do the same job, which hold here: each by a test of its
//! own, so that they go on holding.

use std::panic::panic_any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use write_behind::{
    Aggregate, FlushBatch, FlushReason, FlushWaitError, InsertErrorKind, IntervalPolicy, Last, Overflow,
    RetryPolicy, Sum,
};

use crate::support::{Answer, Driver, Gate, Rig, Script, secs, steady};

each_driver! {
    values_equal_by_their_own_eq_are_stored_twice_when_inserted_twice,
    there_is_room_again_after_full_under_each_policy,
    a_panic_whose_payload_panics_when_dropped_is_contained,
    a_burst_that_goes_quiet_is_stored_without_another_insert,
    waiters_of_a_batch_that_panics_get_their_error,
}

each_concurrent_driver! {
    stalled_inserters_are_woken_when_a_failed_flush_is_forgotten,
}

type Totals = Rig<u32, Sum<i64>>;

/// Equal whatever the text, as a business object whose identity is its number.
#[derive(Clone, Debug)]
struct Document {
    number: u32,
    text: &'static str,
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// A store that compares what it had sent with what it has now took the new text for the old one.
fn values_equal_by_their_own_eq_are_stored_twice_when_inserted_twice(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Last<Document>>, _| {
        if sink.calls().len() == 1 {
            sink.buffer().insert(1, Document { number: 7, text: "new" }).expect("there is room");
        }
        Ok(())
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert(1, Document { number: 7, text: "old" });
    rig.pass_time_until("both are stored", || rig.buffer.stats().flushed == 2);
    let texts: Vec<_> = rig.sink.flushed().into_iter().map(|(_, document)| document.0.text).collect();
    assert_eq!(texts, ["old", "new"]);
}

fn there_is_room_again_after_full_under_each_policy(driver: Driver) {
    let timeout = secs(1);
    let policies =
        [Overflow::Reject, Overflow::Block { timeout }, Overflow::FlushOldest { timeout }, Overflow::Shed];
    for overflow in policies {
        let sink = Script::keys(
            |sink: &Script<u32, Sum<i64>>, _, _| {
                if sink.clock().now() < secs(60) { Err("away".into()) } else { Ok(()) }
            },
        );
        let rig = Totals::with(driver, sink, |builder| {
            builder.max_keys(2).overflow(overflow).retry(steady().delay(secs(2)))
        });
        rig.insert(1, 1);
        rig.insert(2, 1);
        for key in 3..6 {
            let refused = rig.while_time_passes(|buffer| buffer.insert(key, 1));
            assert_eq!(refused.is_ok(), overflow == Overflow::Shed, "{overflow:?}");
        }
        rig.pass_time_until("the store is back", || rig.buffer.stats().flushed == 2);
        rig.insert(7, 1);
        rig.insert(8, 1);
        rig.pass_time_until("it goes on", || rig.buffer.stats().flushed == 4);
        assert_eq!((rig.buffer.stats().keys, rig.buffer.stats().balance()), (0, 0), "{overflow:?}");
    }
}

fn a_panic_whose_payload_panics_when_dropped_is_contained(driver: Driver) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("once more");
            }
        }
    }
    let calls = AtomicU32::new(0);
    let sink = Script::keys(move |_, _: &u32, _: &Sum<i64>| match calls.fetch_add(1, Ordering::Relaxed) {
        0..3 => panic_any(Bomb),
        _ => Ok(()),
    });
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady()));
    rig.insert(1, 1);
    rig.pass_time_until("it is stored in the end", || rig.buffer.stats().flushed == 1);
    assert_eq!((rig.buffer.stats().panics, rig.buffer.stats().balance()), (3, 0));
}

#[test]
fn a_steady_trickle_is_stored_once_per_interval() {
    let rig = Totals::start(Driver::Inline, |builder| builder.interval(secs(10)));
    for _ in 0..300 {
        rig.insert(1, 1);
        rig.advance(secs(1));
    }
    rig.pass_time_until("all is stored", || rig.buffer.stats().flushed == 300);
    let flushes = rig.sink.calls().len();
    assert!((27..=30).contains(&flushes), "one per interval and not one per insert: {flushes}");
}

/// Flushing happened inside the next insert, which never came.
fn a_burst_that_goes_quiet_is_stored_without_another_insert(driver: Driver) {
    let rig = Totals::start(driver, |builder| builder.interval(secs(10)).flush_at_count(1_000));
    (0..999).for_each(|_| rig.insert(1, 1));
    rig.advance(secs(9));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.advance(secs(1));
    rig.eventually("it is stored", || rig.sink.flushed() == [(1, Sum(999))]);
}

fn waiters_of_a_batch_that_panics_get_their_error(driver: Driver) {
    let explode = |_: &Script<u32, Sum<i64>>, _: &FlushBatch<u32, Sum<i64>>| -> Answer { panic!("boom") };
    let rig = Totals::with(driver, Script::batches(explode), |builder| builder.retry(RetryPolicy::never()));
    (0..20).for_each(|key| rig.insert(key, 1));
    let error = rig.buffer.flush_all_and_wait(secs(3_600)).expect_err("it panics");
    let FlushWaitError::Failed(cause) = error else { panic!("{error}") };
    assert_eq!(cause.to_string(), "the callback panicked: boom");
}

/// Every generation until the next full minute of a wall clock that is 17 s past a minute at the start.
struct FullMinutes;

impl<K, V> IntervalPolicy<K, V> for FullMinutes {
    fn interval(&self, _: &K, _: &V, now: Duration) -> Duration {
        let into_minute = (now.as_secs() + 17) % 60;
        secs(60 - into_minute)
    }
}

#[test]
fn flushes_can_be_aligned_to_the_wall_clock() {
    let rig =
        Totals::start(Driver::Inline, |builder| builder.interval(secs(60)).interval_policy(FullMinutes));
    for second in 0..150 {
        rig.insert(second % 7, 1);
        rig.advance(secs(1));
    }
    rig.pass_time_until("all is stored", || rig.buffer.stats().flushed == 150);
    let mut minutes: Vec<_> = rig.sink.calls().iter().map(|call| call.at.as_secs()).collect();
    minutes.dedup();
    assert_eq!(minutes, [43, 103, 163]);
    assert!(rig.sink.calls().iter().all(|call| call.reason == FlushReason::Deadline));
}

fn stalled_inserters_are_woken_when_a_failed_flush_is_forgotten(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::keys(|_, key: &u32, _: &Sum<i64>| if *key == 1 { Err("no".into()) } else { Ok(()) });
    let sink = sink.behind_for(&gate, |key| *key == 1);
    let overflow = Overflow::Block { timeout: secs(3_600) };
    let rig = Totals::with(driver, sink, |builder| {
        builder.max_keys(1).overflow(overflow).retry(RetryPolicy::never())
    });
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    let waiting = Arc::new(Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let inserters: Vec<_> = (2..5)
            .map(|key| {
                let (waiting, buffer) = (Arc::clone(&waiting), &rig.buffer);
                scope.spawn(move || {
                    waiting.lock().unwrap().push(key);
                    buffer.insert(key, 1)
                })
            })
            .collect();
        rig.eventually("they have come", || waiting.lock().unwrap().len() == 3);
        gate.open();
        rig.pass_time_until("all are in and stored", || rig.buffer.stats().flushed == 3);
        for inserter in inserters {
            let inserted = inserter.join().unwrap();
            assert!(inserted.is_ok(), "{:?}", inserted.map_err(|error| error.kind));
        }
    });
    assert_eq!(rig.buffer.stats().gave_up, 1);
}

/// An aggregate is told of nothing but what it may take in.
#[test]
fn a_refused_item_comes_back_as_it_was() {
    let rig = Rig::<u32, Vec<Document>>::start(Driver::Inline, |builder| builder.max_weight(1));
    rig.insert(1, Document { number: 1, text: "first" });
    let error = rig.buffer.insert(1, Document { number: 2, text: "second" }).expect_err("it is full");
    assert_eq!(error.kind, InsertErrorKind::Full);
    assert_eq!(error.into_rejected().1.text, "second");
    assert_eq!(rig.buffer.peek(&1).pending[0].weight(), 1);
}
