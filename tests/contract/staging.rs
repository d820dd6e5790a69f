//! Line 28: an insert that takes a lane is like any other.

use std::thread;

use write_behind::{Count, FlushReason, InsertErrorKind, Max, Min, Sum};

use crate::support::{Driver, Rig, ms, secs};

each_driver! {
    c28_what_is_staged_is_seen_at_once,
    c28_the_deadline_counts_from_the_first_insert,
    c28_flush_and_wait_covers_what_is_staged,
    c28_the_count_that_makes_a_key_due_is_exact,
    c28_shutdown_misses_nothing_that_is_staged,
    c28_removing_returns_what_is_staged,
    c28_a_thread_that_ends_leaves_what_it_has_staged,
    c28_totals_that_do_not_fit_are_flushed_one_after_the_other,
    c28_what_threads_stage_adds_up,
    c28_a_buffer_at_rest_stages_again,
    c28_with_a_trigger_for_the_whole_nothing_is_staged_and_nothing_late,
}

type Totals = Rig<&'static str, Sum<u64>>;
type Summaries = Rig<u32, (Count<i64>, Min<i64>, Max<i64>, Sum<i64>)>;

fn totals(driver: Driver) -> Totals {
    Totals::start(driver, |builder| builder.stage_always().interval(secs(10)))
}

fn c28_what_is_staged_is_seen_at_once(driver: Driver) {
    let rig = Summaries::start(driver, |builder| builder.stage_always().interval(secs(3_600)));
    for insert in 1..=20 {
        rig.insert(7, 10 - i64::from(insert));
        let count = rig.buffer.count(&7);
        assert_eq!((count.pending, count.in_flight), (u64::from(insert as u8), 0));
        let stats = rig.buffer.stats();
        assert_eq!((stats.accepted, stats.pending, stats.keys), (count.pending, count.pending, 1));
        if insert % 5 == 0 {
            let pending = rig.buffer.peek(&7).pending;
            let (items, least, most, total) = pending[0];
            let expected = (1..=insert).map(|insert| 10 - i64::from(insert)).sum::<i64>();
            assert_eq!((items.value(), total), (insert as u64, Sum(expected)));
            assert_eq!((least, most), (Min(10 - i64::from(insert)), Max(9)));
        }
    }
}

fn c28_the_deadline_counts_from_the_first_insert(driver: Driver) {
    let rig = totals(driver);
    for generation in 0..3 {
        let start = secs(100 * generation);
        rig.advance(start.saturating_sub(rig.clock.now()));
        (0..50).for_each(|_| rig.insert("hot", 1));
        rig.advance(secs(9));
        (0..50).for_each(|_| rig.insert("hot", 1));
        rig.advance(ms(999));
        assert_eq!(rig.sink.calls().len(), generation as usize);
        rig.advance(ms(1));
        rig.eventually("the flush", || rig.buffer.stats().flushed == 100 * (generation + 1));
        let call = rig.sink.calls().pop().unwrap();
        assert_eq!((call.at, call.reason), (start + secs(10), FlushReason::Deadline));
        assert_eq!(call.entries, [("hot", Sum(100))]);
    }
}

fn c28_flush_and_wait_covers_what_is_staged(driver: Driver) {
    let rig = totals(driver);
    (0..30).for_each(|_| rig.insert("hot", 1));
    rig.while_time_passes(|buffer| buffer.flush_and_wait("hot", secs(60))).unwrap();
    assert_eq!(rig.sink.flushed(), [("hot", Sum(30))]);
    (0..30).for_each(|_| rig.insert("hot", 1));
    rig.while_time_passes(|buffer| buffer.flush_all_and_wait(secs(60))).unwrap();
    assert_eq!(rig.sink.flushed(), [("hot", Sum(30)), ("hot", Sum(30))]);
}

fn c28_the_count_that_makes_a_key_due_is_exact(driver: Driver) {
    let rig = Totals::start(driver, |builder| {
        builder.stage_always().interval(secs(3_600)).flush_at_count(1_000).interval_at_count(100, secs(60))
    });
    (0..99).for_each(|_| rig.insert("hot", 1));
    rig.advance(secs(60));
    assert_eq!(rig.sink.calls().len(), 0, "the hundredth has not come");
    rig.insert("hot", 1);
    rig.eventually("what is a minute old", || rig.sink.flushed() == [("hot", Sum(100))]);
    (0..999).for_each(|_| rig.insert("hot", 1));
    rig.advance(secs(1));
    assert_eq!(rig.sink.calls().len(), 1);
    rig.insert("hot", 1);
    rig.eventually("the thousandth", || rig.buffer.stats().flushed == 1_100);
    assert_eq!(rig.sink.calls()[1].entries, [("hot", Sum(1_000))]);
}

fn c28_shutdown_misses_nothing_that_is_staged(driver: Driver) {
    let rig = totals(driver);
    (0..30).for_each(|_| rig.insert("hot", 1));
    rig.while_time_passes(|buffer| buffer.shutdown(secs(60))).unwrap();
    assert_eq!(rig.sink.flushed(), [("hot", Sum(30))]);
    let refused = rig.buffer.insert("hot", 1).unwrap_err();
    assert_eq!((refused.kind, refused.into_rejected()), (InsertErrorKind::Closed, ("hot", 1)));
    assert_eq!(rig.buffer.stats().accepted, 30);
}

fn c28_removing_returns_what_is_staged(driver: Driver) {
    let rig = totals(driver);
    (0..30).for_each(|_| rig.insert("hot", 1));
    assert_eq!(rig.buffer.remove("hot"), [Sum(30)]);
    assert_eq!((rig.buffer.stats().removed, rig.buffer.stats().pending), (30, 0));
    (0..30).for_each(|_| rig.insert("hot", 1));
    assert_eq!(rig.buffer.count("hot").pending, 30);
}

fn c28_a_thread_that_ends_leaves_what_it_has_staged(driver: Driver) {
    let rig = totals(driver);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..30).for_each(|_| rig.insert("hot", 1)));
        }
    });
    assert_eq!(rig.buffer.count("hot").pending, 90);
    rig.advance(secs(10));
    rig.eventually("the flush", || rig.sink.flushed() == [("hot", Sum(90))]);
}

fn c28_totals_that_do_not_fit_are_flushed_one_after_the_other(driver: Driver) {
    let rig = Rig::<&'static str, Sum<u8>>::start(driver, |builder| builder.stage_always());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..4).for_each(|_| rig.insert("full", 60)));
        }
    });
    rig.while_time_passes(|buffer| buffer.flush_and_wait("full", secs(60))).unwrap();
    let flushed = rig.sink.flushed();
    assert!(flushed.len() >= 3, "{flushed:?}");
    assert_eq!(flushed.iter().map(|(_, total)| u32::from(total.0)).sum::<u32>(), 720);
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().keys), (12, 0));
}

/// With takes, looks and removals meanwhile, of which each balances.
fn c28_what_threads_stage_adds_up(driver: Driver) {
    const EACH: u64 = 2_000;
    let rig = Rig::<u64, Sum<u64>>::start(driver, |builder| {
        builder.stage_always().interval(ms(1)).flush_at_count(300).partitions(2)
    });
    let removed = thread::scope(|scope| {
        let inserting: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..EACH).for_each(|insert| rig.insert(insert % 3, 1)))).collect();
        let mut removed = 0;
        while !inserting.iter().all(|thread| thread.is_finished()) {
            rig.advance(ms(1));
            removed += rig.buffer.remove(&0).iter().map(|total| total.0).sum::<u64>();
            let _ = (rig.buffer.peek(&1), rig.buffer.count(&2));
            assert_eq!(rig.buffer.stats().balance(), 0);
        }
        removed
    });
    rig.while_time_passes(|buffer| buffer.flush_all_and_wait(secs(60))).unwrap();
    let flushed: u64 = rig.sink.flushed().iter().map(|(_, total)| total.0).sum();
    let stats = rig.buffer.stats();
    assert_eq!(flushed + removed, 4 * EACH);
    assert_eq!((stats.accepted, stats.flushed, stats.removed), (4 * EACH, flushed, removed));
}

fn c28_a_buffer_at_rest_stages_again(driver: Driver) {
    let rig = Totals::start(driver, |builder| builder.stage_always().hibernate_after(secs(30)));
    for round in 1..=2 {
        (0..30).for_each(|_| rig.insert("hot", 1));
        rig.advance(secs(5));
        rig.eventually("the flush", || rig.buffer.stats().flushed == 30 * round);
        rig.advance(secs(30));
        rig.eventually("the rest", || rig.buffer.stats().hibernating);
    }
}

fn c28_with_a_trigger_for_the_whole_nothing_is_staged_and_nothing_late(driver: Driver) {
    let rig = Totals::start(driver, |builder| {
        builder.stage_always().interval(secs(3_600)).flush_all_at_count(100).partitions(80)
    });
    (0..99).for_each(|_| rig.insert("hot", 1));
    rig.insert("other", 1);
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 100);
}
