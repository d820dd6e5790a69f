//! Line 1, for the whole buffer: enough inserts together make everything due.

use std::thread;

use write_behind::{FlushError, FlushReason, InsertErrorKind, Verdict};

use crate::support::{Driver, Rig, Script, secs, steady};

each_driver! {
    c01_a_buffer_that_is_full_as_a_whole_flushes_all_that_is_pending,
    c01_what_has_left_does_not_count_towards_the_whole,
    c01_what_was_asked_for_as_a_whole_does_not_count_again,
    c01_a_refused_insert_does_not_count_towards_the_whole,
    c01_no_trigger_of_the_whole_is_lost_among_threads,
    c13_data_that_is_put_back_does_not_count_towards_the_whole,
    c20_a_buffer_at_rest_counts_on,
}

type Lists = Rig<&'static str, Vec<u32>>;
type Many = Rig<u32, Vec<u32>>;

fn c01_a_buffer_that_is_full_as_a_whole_flushes_all_that_is_pending(driver: Driver) {
    // Exact with this many.
    let rig =
        Many::start(driver, |builder| builder.interval(secs(3_600)).flush_all_at_count(100).partitions(80));
    (0..99).for_each(|insert| rig.insert(insert % 30, insert));
    rig.advance(secs(1));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.insert(7, 99);
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 100);
    assert!(rig.sink.calls().iter().all(|call| call.reason == FlushReason::Volume));
    (0..99).for_each(|insert| rig.insert(insert % 30, insert));
    rig.advance(secs(1));
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().pending), (100, 99));
    rig.insert(1_000, 99);
    rig.eventually("all is flushed again", || rig.buffer.stats().flushed == 200);
}

fn c01_what_has_left_does_not_count_towards_the_whole(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(3_600)).flush_all_at_count(5));
    (0..3).for_each(|item| rig.insert("flushed", item));
    rig.buffer.flush("flushed");
    rig.eventually("it is flushed", || rig.buffer.stats().flushed == 3);
    (0..3).for_each(|item| rig.insert("removed", item));
    rig.advance(secs(1));
    assert_eq!(rig.buffer.stats().pending, 3, "what was flushed still counts");
    assert_eq!(rig.buffer.remove("removed"), [vec![0, 1, 2]]);
    (0..4).for_each(|item| rig.insert("left", item));
    rig.advance(secs(1));
    assert_eq!(rig.buffer.stats().pending, 4);
    rig.insert("last", 5);
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 8);
}

/// The key's newer data is due as well, and still in the table because its older data is in flight.
fn c01_what_was_asked_for_as_a_whole_does_not_count_again(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, batch| {
        match batch.entries()[0].key() == &"stuck" && sink.clock().now() < secs(100) {
            true => Err("down".to_owned().into()),
            false => Ok(()),
        }
    });
    let rig = Lists::with(driver, sink, |builder| {
        builder.interval(secs(3_600)).flush_all_at_count(4).retry(steady())
    });
    (0..4).for_each(|item| rig.insert("stuck", item));
    rig.eventually("it is in flight", || rig.buffer.stats().in_flight == 4);
    (0..4).for_each(|item| rig.insert("stuck", item));
    (0..3).for_each(|item| rig.insert("free", item));
    rig.advance(secs(1));
    let stats = rig.buffer.stats();
    assert_eq!((stats.in_flight, stats.pending, stats.flushed), (4, 7, 0));
    rig.insert("free", 3);
    rig.eventually("what is free is flushed", || rig.buffer.stats().flushed == 4);
    rig.pass_time_until("the rest follows", || rig.buffer.stats().flushed == 12);
}

fn c01_a_refused_insert_does_not_count_towards_the_whole(driver: Driver) {
    let rig = Lists::start(driver, |builder| {
        builder.interval(secs(3_600)).flush_all_at_count(5).max_keys(2).partitions(1)
    });
    (0..2).for_each(|item| rig.insert("a", item));
    (0..2).for_each(|item| rig.insert("b", item));
    for _ in 0..10 {
        let error = rig.buffer.insert("c", 0).expect_err("there is no room");
        assert_eq!(error.kind, InsertErrorKind::Full);
    }
    rig.advance(secs(1));
    assert_eq!(rig.buffer.stats().pending, 4);
    rig.insert("a", 2);
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 5);
}

fn c01_no_trigger_of_the_whole_is_lost_among_threads(driver: Driver) {
    let rig =
        Many::start(driver, |builder| builder.interval(secs(3_600)).flush_all_at_count(50).partitions(4));
    for round in 1..=20 {
        thread::scope(|scope| {
            for thread in 0..4 {
                let rig = &rig;
                scope.spawn(move || (0..60).for_each(|insert| rig.insert(thread * 3 + insert % 5, insert)));
            }
        });
        rig.eventually("less than the limit is left", || rig.buffer.stats().flushed > 240 * round - 50);
    }
    assert_eq!(rig.buffer.stats().balance(), 0);
}

fn c13_data_that_is_put_back_does_not_count_towards_the_whole(driver: Driver) {
    let sink = Script::batches(|sink: &Script<&'static str, Vec<u32>>, _| match sink.calls().len() {
        1..=3 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, letter| Verdict::Requeue(letter));
    let rig =
        Lists::with(driver, sink, |builder| builder.interval(secs(5)).flush_all_at_count(3).partitions(1));
    (0..3).for_each(|item| rig.insert("key", item));
    rig.eventually("it is put back", || rig.buffer.stats().failures == 1 && rig.buffer.stats().pending == 3);
    (3..5).for_each(|item| rig.insert("key", item));
    rig.advance(secs(1));
    assert_eq!(rig.buffer.stats().failures, 1);
    rig.insert("key", 5);
    rig.eventually("it is tried again", || {
        rig.buffer.stats().failures == 2 && rig.buffer.stats().pending == 6
    });
    rig.pass_time_until("it gets through", || rig.buffer.stats().flushed == 6);
    let calls = rig.sink.calls();
    assert!(calls.windows(2).skip(1).all(|pair| pair[1].at >= pair[0].at + secs(5)), "requeueing loops hot");
}

fn c20_a_buffer_at_rest_counts_on(driver: Driver) {
    use std::time::Duration;
    let rig = Many::start(driver, |builder| {
        builder.interval(secs(3_600)).flush_all_at_count(3).hibernate_after(Duration::ZERO)
    });
    for round in 1..=5 {
        rig.eventually("it rests", || rig.buffer.stats().hibernating);
        (0..3).for_each(|key| rig.insert(key, 1));
        rig.eventually("all is flushed", || rig.buffer.stats().flushed == 3 * round);
    }
}

/// Chunks of four here, over two partitions.
#[test]
fn c01_the_whole_is_never_late_and_at_most_a_sixteenth_early() {
    for keys in [1, 2, 50] {
        let rig = Many::start(Driver::Inline, |builder| {
            builder.interval(secs(3_600)).flush_all_at_count(128).partitions(2)
        });
        for round in 0..5 {
            let before = rig.buffer.stats().accepted;
            while rig.sink.calls().len() <= round {
                let insert = rig.buffer.stats().accepted as u32;
                rig.insert(insert % keys, insert);
                rig.advance(secs(0));
            }
            let inserts = rig.buffer.stats().accepted - before;
            assert!((120..=128).contains(&inserts), "{inserts} with {keys} keys");
        }
    }
}
