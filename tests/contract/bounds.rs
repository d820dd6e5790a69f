//! Lines 14 to 16: what is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use write_behind::{Aggregate, InsertErrorKind, Overflow};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    c14_keys_are_bounded_with_data_in_flight_included,
    c14_weight_is_bounded_and_no_room_is_lost,
    c14_weight_that_was_not_announced_is_charged,
    c14_weight_that_was_not_announced_is_paid_back,
    c14_the_bound_holds_over_many_partitions,
    c14_no_insert_is_refused_while_any_partition_has_room,
    c14_blocking_waits_for_room,
    c14_blocking_ends_at_its_timeout,
    c14_flushing_the_oldest_makes_room,
    c14_shedding_hands_the_item_over,
    c15_callbacks_are_bounded,
}

each_concurrent_driver! {
    c15_the_dispatch_queue_is_bounded,
    c14_closing_wakes_blocked_inserters,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn c14_keys_are_bounded_with_data_in_flight_included(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(driver, sink, |builder| builder.max_keys(2).retry(steady()));
    rig.insert("a", 1);
    rig.insert("b", 1);
    rig.buffer.flush_all();
    rig.eventually("both are in flight", || rig.buffer.stats().in_flight == 2);
    let error = rig.buffer.insert("c", 1).expect_err("there is no room");
    assert_eq!(error.kind, InsertErrorKind::Full);
    rig.insert("a", 2);
    assert_eq!(rig.buffer.stats().keys, 2);
}

fn c14_weight_is_bounded_and_no_room_is_lost(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.max_weight(100));
    for round in 1..=3 {
        let accepted = (0..200).filter(|item| rig.buffer.insert(item % 7, *item).is_ok()).count();
        assert_eq!(accepted, 100);
        assert_eq!(rig.buffer.stats().weight, 100);
        rig.buffer.flush_all();
        rig.eventually("all is flushed", || rig.buffer.stats().flushed == 100 * round);
    }
    assert_eq!(rig.buffer.stats().weight, 0);
}

/// Announces nothing of what it weighs.
#[derive(Clone)]
struct Heavy(Vec<u64>);

impl Aggregate for Heavy {
    type Item = u64;

    fn start(weight: u64) -> Self {
        Heavy(vec![weight])
    }

    fn absorb(&mut self, weight: u64) {
        self.0.push(weight);
    }

    fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    fn weight(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A thousand inserts of a thousand bytes fitted into a thousand bytes.
fn c14_weight_that_was_not_announced_is_charged(driver: Driver) {
    let rig = Rig::<u32, Heavy>::start(driver, |builder| builder.max_weight(1_000).partitions(1));
    let accepted = (0..1_000).filter(|_| rig.buffer.insert(1, 1_000).is_ok()).count();
    assert_eq!((accepted, rig.buffer.stats().weight), (2, 2_000), "exceeded by one insert and no more");
    assert_eq!(rig.buffer.insert(2, 1).expect_err("it is full").kind, InsertErrorKind::Full);
    rig.buffer.flush_all();
    rig.eventually("there is room again", || rig.buffer.stats().flushed == 2);
    assert_eq!(rig.buffer.stats().weight, 0);
    rig.insert(1, 400);
    rig.insert(2, 400);
    assert_eq!(rig.buffer.stats().weight, 800);
}

fn c14_weight_that_was_not_announced_is_paid_back(driver: Driver) {
    let rig = Rig::<u32, Heavy>::start(driver, |builder| builder.max_weight(1_000).partitions(4));
    for round in 1..=20 {
        (0..8).for_each(|key| drop(rig.buffer.insert(key, 300)));
        let stats = rig.buffer.stats();
        assert!(
            (1_000..=2_200).contains(&stats.weight),
            "each partition has exceeded it once: {}",
            stats.weight
        );
        rig.buffer.flush_all();
        rig.eventually("all is flushed", || rig.buffer.stats().keys == 0);
        assert_eq!(rig.buffer.stats().weight, 0, "round {round}");
    }
}

fn c14_the_bound_holds_over_many_partitions(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.max_keys(500).partitions(64));
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (rig, accepted) = (&rig, &accepted);
            scope.spawn(move || {
                let keys = (0..1_000).map(|key| 1_000 * thread + key);
                let taken = keys.filter(|key| rig.buffer.insert(*key, 1).is_ok()).count();
                accepted.fetch_add(taken, Ordering::Relaxed);
            });
        }
    });
    let stats = rig.buffer.stats();
    assert_eq!((accepted.into_inner(), stats.keys, stats.rejected), (500, 500, 3_500));
}

/// Partitions draw room in chunks of hundreds here; what one does not use is not lost to the others.
fn c14_no_insert_is_refused_while_any_partition_has_room(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| {
        builder.partitions(4).max_keys(10_000).max_weight(20_000).interval(secs(3_600))
    });
    (0..10_000).for_each(|key| rig.insert(key, 1));
    rig.buffer.insert(10_000, 1).expect_err("there is no room for one more key");
    (0..10_000).for_each(|key| rig.insert(key, 2));
    rig.buffer.insert(0, 3).expect_err("there is no room for one more item");
    let stats = rig.buffer.stats();
    assert_eq!((stats.keys, stats.weight), (10_000, 20_000));
}

fn c14_blocking_waits_for_room(driver: Driver) {
    let overflow = Overflow::Block { timeout: secs(3_600) };
    let rig = Lists::start(driver, |builder| builder.max_keys(1).overflow(overflow));
    rig.insert("a", 1);
    let inserted = rig.while_time_passes(|buffer| buffer.insert("b", 2).map_err(|error| error.kind));
    assert_eq!(inserted, Ok(()));
    assert_eq!(rig.sink.flushed(), [("a", vec![1])]);
}

fn c14_blocking_ends_at_its_timeout(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(driver, sink, |builder| {
        builder.max_keys(1).retry(steady()).overflow(Overflow::Block { timeout: secs(3) })
    });
    rig.insert("a", 1);
    let error = rig.while_time_passes(|buffer| buffer.insert("b", 2)).expect_err("there is no room");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::TimedOut, ("b", 2)));
    assert!(rig.clock.now() >= secs(3));
}

fn c14_flushing_the_oldest_makes_room(driver: Driver) {
    let overflow = Overflow::FlushOldest { timeout: secs(1_800) };
    let rig = Lists::start(driver, |builder| {
        // One worker: whoever is woken in vain makes the next one due as well, and is not to overtake.
        let builder = builder.partitions(1).max_keys(2).max_batch_keys(1).flush_concurrency(1);
        builder.overflow(overflow).interval(secs(3_600))
    });
    rig.insert("oldest", 1);
    rig.advance(secs(60));
    rig.insert("newer", 2);
    let inserted = rig.while_time_passes(|buffer| buffer.insert("newest", 3).map_err(|error| error.kind));
    assert_eq!(inserted, Ok(()));
    let first = &rig.sink.calls()[0];
    assert_eq!((first.reason, first.entries[0].0), (write_behind::FlushReason::Pressure, "oldest"));
    assert!(rig.clock.now() < secs(3_600));
}

fn c14_shedding_hands_the_item_over(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_weight(1).overflow(Overflow::Shed));
    rig.insert("a", 1);
    rig.insert("a", 2);
    rig.insert("b", 3);
    assert_eq!(rig.sink.shed(), [("a", vec![2]), ("b", vec![3])]);
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.shed, stats.rejected, stats.balance()), (1, 2, 0, 0));
}

fn c15_callbacks_are_bounded(driver: Driver) {
    let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.flush_concurrency(3).max_batch_keys(1));
    (0..200).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 200);
    assert!(rig.sink.busiest() <= 3, "{} at once", rig.sink.busiest());
    assert!(rig.buffer.stats().workers <= 3);
}

/// All workers stand still: no more batches are made than may wait for them, and no more threads.
fn c15_the_dispatch_queue_is_bounded(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig =
        Rig::<u32, Vec<u32>>::with(driver, sink, |builder| builder.flush_concurrency(2).max_batch_keys(1));
    (0..50).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    gate.await_arrivals(2);
    rig.eventually("as many again stand ready", || rig.buffer.stats().in_flight == 4);
    assert_eq!(rig.buffer.stats().workers, 2);
    gate.open();
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 50);
    assert_eq!(rig.sink.busiest(), 2);
}

/// Inserters that are blocked when the buffer closes are told so, with their items.
fn c14_closing_wakes_blocked_inserters(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Arc::new(Lists::with(driver, sink, |builder| {
        builder.max_keys(1).overflow(Overflow::FlushOldest { timeout: secs(60) })
    }));
    rig.insert("a", 1);
    thread::scope(|scope| {
        let blocked: Vec<_> = ["b", "c", "d"].map(|key| scope.spawn(|| rig.buffer.insert(key, 2))).into();
        gate.await_arrivals(1);
        let closing = scope.spawn(|| rig.buffer.shutdown(secs(60)));
        for inserter in blocked {
            let error = inserter.join().unwrap().expect_err("it is closed");
            assert_eq!((error.kind, error.rejected.1), (InsertErrorKind::Closed, 2));
        }
        gate.open();
        closing.join().unwrap().expect("all is delivered");
    });
    assert_eq!(rig.clock.now(), ms(0));
}
