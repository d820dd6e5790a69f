//! Cases that other buffers are tested with, as far as no other test here holds them already.

use std::thread;

use write_behind::{FlushBatch, FlushWaitError, InsertErrorKind, Overflow, Sum};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    attempts_are_exactly_as_configured,
    an_insert_survives_an_overrun,
    a_continuously_updated_key_is_stored_in_each_window,
    reads_see_the_latest,
    an_oversized_item_is_refused_and_blocks_nobody,
    a_waiter_that_times_out_leaves_no_trace,
    rows_can_be_locked_in_one_order,
    pressure_is_released_with_hysteresis_and_no_room_is_lost,
}

each_concurrent_driver! {
    a_concurrent_flush_covers_prior_inserts,
    closing_wakes_waiters,
}

type Lists = Rig<u32, Vec<u32>>;

/// `DataBuffer` 0.1: attempts exactly, and at least the delay apart.
fn attempts_are_exactly_as_configured(driver: Driver) {
    for attempts in 1..=5 {
        let sink = Script::batches(|_, _| Err("down".to_owned().into()));
        let retry = steady().attempts(attempts).delay(ms(400));
        let rig = Lists::with(driver, sink, |builder| builder.retry(retry));
        rig.insert(1, 1);
        rig.pass_time_until("it is given up", || rig.buffer.stats().gave_up == 1);
        let calls = rig.sink.calls();
        assert_eq!(calls.len(), attempts as usize);
        assert!(calls.windows(2).all(|pair| pair[1].at >= pair[0].at + ms(400)));
        assert_eq!(rig.buffer.stats().flushes, u64::from(attempts));
    }
}

/// `DataBuffer` 0.7: what is inserted while a flush overruns is flushed after it.
fn an_insert_survives_an_overrun(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Vec<u32>>, _| {
        if sink.calls().len() == 1 {
            sink.buffer().insert(1, 2).expect("there is room");
            sink.clock().advance(secs(120));
        }
        Ok(())
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.pass_time_until("both are flushed", || rig.buffer.stats().flushed == 2);
    assert_eq!(rig.sink.flushed(), [(1, vec![1]), (1, vec![2])]);
}

/// Hazelcast: a key that is never left alone is still stored once a window.
fn a_continuously_updated_key_is_stored_in_each_window(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(1)));
    let mut inserted = 0;
    for window in 1..=5 {
        for _ in 0..10 {
            rig.insert(1, inserted);
            inserted += 1;
            rig.advance(ms(100));
        }
        rig.eventually("the window is stored", || rig.sink.calls().len() == window);
    }
}

/// Ehcache: whatever stage the data is in.
fn reads_see_the_latest(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Sum<i64>>, _| {
        assert_eq!(sink.buffer().total(&1), Some(10));
        sink.buffer().add(&1, 5).expect("there is room");
        assert_eq!(sink.buffer().total(&1), Some(15));
        Ok(())
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert(1, 10);
    assert_eq!(rig.buffer.total(&1), Some(10));
    rig.buffer.flush(&1);
    rig.eventually("the first is settled", || rig.buffer.total(&1) == Some(5));
    assert_eq!(rig.buffer.stats().panics, 0);
}

/// Text that weighs its length.
#[derive(Clone, Debug, PartialEq)]
struct Text(String);

impl write_behind::Aggregate for Text {
    type Item = String;

    fn start(item: String) -> Self {
        Text(item)
    }

    fn absorb(&mut self, item: String) {
        self.0 += &item;
    }

    fn merge(&mut self, later: Self) {
        self.0 += &later.0;
    }

    fn weight(&self) -> u64 {
        self.0.len() as u64
    }

    fn start_weight(item: &String) -> u64 {
        item.len() as u64
    }

    fn growth(&self, item: &String) -> u64 {
        item.len() as u64
    }
}

/// Go's bundler: it could never fit, so waiting is of no use.
fn an_oversized_item_is_refused_and_blocks_nobody(driver: Driver) {
    let overflow = Overflow::Block { timeout: secs(3_600) };
    let rig = Rig::<u32, Text>::start(driver, |builder| builder.max_weight(10).overflow(overflow));
    let error = rig.buffer.insert(1, "eleven char".into()).expect_err("it can never fit");
    assert_eq!((error.kind, error.rejected.1.as_str()), (InsertErrorKind::TooHeavy, "eleven char"));
    rig.insert(1, "ten".into());
    rig.insert(1, " chars!".into());
    assert_eq!(rig.buffer.stats().weight, 10);
    assert_eq!(rig.clock.now(), ms(0));
}

/// Kafka: the wait ends, the flush goes on, and later ones are waited for as if nothing had been.
fn a_waiter_that_times_out_leaves_no_trace(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Vec<u32>>, _| match sink.clock().now() < secs(20) {
        true => Err("down".to_owned().into()),
        false => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.retry(steady()));
    rig.insert(1, 1);
    let timed_out = rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(2)));
    assert!(matches!(timed_out, Err(FlushWaitError::TimedOut(after)) if after == secs(2)));
    rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(600))).expect("it is flushed in the end");
    assert_eq!(rig.buffer.stats().flushed, 1);
}

/// Go's bundler: a flush covers what was added before it, whoever else flushes.
fn a_concurrent_flush_covers_prior_inserts(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_batch_keys(3).partitions(4));
    thread::scope(|scope| {
        for thread in 0..3 {
            let rig = &rig;
            scope.spawn(move || {
                for round in 0..30 {
                    let keys = 1_000 * thread..1_000 * thread + 20;
                    keys.clone().for_each(|key| rig.insert(key, round));
                    rig.buffer.flush_all_and_wait(secs(3_600)).expect("it is flushed");
                    assert!(keys.into_iter().all(|key| rig.buffer.count(&key).total() == 0));
                }
            });
        }
    });
}

/// openobserve, orakl (40P01): two statements that lock the same rows in different orders.
fn rows_can_be_locked_in_one_order(driver: Driver) {
    let sink = Script::batches(|_, batch: &FlushBatch<u32, Vec<u32>>| {
        let keys: Vec<u32> = batch.sorted().iter().map(|entry| *entry.key()).collect();
        assert_eq!(keys.len(), batch.len());
        assert!(keys.is_sorted());
        Ok(())
    });
    let rig = Lists::with(driver, sink, |builder| builder.partitions(1));
    (0..50).for_each(|key| rig.insert(key * 37 % 50, 1));
    rig.buffer.flush_all();
    rig.eventually("all is flushed", || rig.buffer.stats().flushed == 50);
    assert_eq!((rig.buffer.stats().panics, rig.sink.overlaps()), (0, 0));
}

/// CockroachDB: under pressure the last bit of room can still be used, by any partition.
fn pressure_is_released_with_hysteresis_and_no_room_is_lost(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_keys(100).max_weight(100).partitions(16));
    for round in 0..20 {
        let accepted = (0..150).filter(|key| rig.buffer.insert(*key, round).is_ok()).count();
        assert_eq!((accepted, rig.buffer.stats().weight), (100, 100));
        let removed: Vec<u32> = rig.buffer.keys().into_iter().take(7).collect();
        removed.iter().for_each(|key| drop(rig.buffer.remove(key)));
        let refilled = (1_000..1_010).filter(|key| rig.buffer.insert(*key, round).is_ok()).count();
        assert_eq!(refilled, 7);
        rig.buffer.flush_all_and_wait(secs(60)).expect("all is flushed");
    }
}

/// Kafka: closing wakes those who wait for a flush that will never be over.
fn closing_wakes_waiters(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.buffer.flush_and_wait(&1, secs(3_600)));
        gate.await_arrivals(1);
        rig.buffer.shutdown(ms(0)).expect_err("the callback still runs");
        assert!(matches!(waiting.join().unwrap(), Err(FlushWaitError::Closed)));
        gate.open();
    });
}
