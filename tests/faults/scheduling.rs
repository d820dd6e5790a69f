//! Timers that fired too early, too late, or never.

use std::hash::{BuildHasher, Hasher};

use write_behind::{Buffer, ManualClock};

use crate::support::{Call, Driver, Rig, ms, secs, steady};

each_driver! {
    a_size_flush_cancels_the_timer_of_its_generation,
    a_stale_timer_does_not_cut_a_retry_short,
    a_busy_key_cannot_starve_a_quiet_one,
    every_message_resetting_the_delay_is_a_debounce,
    twenty_identical_deadlines_all_fire,
    synchronised_ticks_are_spread_by_jitter,
    a_partial_batch_leaves_at_its_deadline,
    no_batch_is_empty_and_none_is_too_large,
    a_backlog_leaves_in_the_order_in_which_it_fell_due,
}

type Lists = Rig<u32, Vec<u32>>;

fn a_size_flush_cancels_the_timer_of_its_generation(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.flush_at_count(3).interval(secs(10)));
    (0..3).for_each(|item| rig.insert(1, item));
    rig.eventually("the flush by size", || rig.sink.calls().len() == 1);
    rig.advance(secs(9));
    rig.insert(1, 3);
    rig.advance(secs(9));
    rig.pass_time_until("the next flush", || rig.sink.calls().len() == 2);
    assert!(rig.sink.calls()[1].at >= secs(19));
}

/// `DataBuffer` 0.7: a timer that was set before a flush must be ignored after it.
fn a_stale_timer_does_not_cut_a_retry_short(driver: Driver) {
    let sink = crate::support::Script::batches(|_, batch| match batch.attempt() {
        1 => Err("down".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| {
        builder.interval(secs(2)).retry(steady().attempts(4).delay(secs(10)))
    });
    rig.insert(1, 1);
    rig.advance(secs(1));
    rig.buffer.flush(&1);
    rig.eventually("the first attempt", || rig.sink.calls().len() == 1);
    rig.pass_time_until("the second attempt", || rig.sink.calls().len() == 2);
    assert!(rig.sink.calls()[1].at >= secs(11));
}

/// vector: timers were polled only when the stream was idle.
fn a_busy_key_cannot_starve_a_quiet_one(driver: Driver) {
    let rig =
        Lists::start(driver, |builder| builder.flush_at_count(20).flush_concurrency(1).interval(secs(3)));
    rig.insert(7, 7);
    rig.pass_time_until("the quiet key", || {
        (0..50).for_each(|item| rig.insert(1, item));
        rig.sink.flushed().iter().any(|(key, _)| *key == 7)
    });
    assert!(driver != Driver::Inline || rig.clock.now() == secs(3));
}

/// ultra-batch: with a debounce this key would never leave.
fn every_message_resetting_the_delay_is_a_debounce(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(1)));
    rig.pass_time_until("a key that never pauses is flushed", || {
        rig.insert(1, 1);
        rig.sink.calls().len() >= 3
    });
    let calls = rig.sink.calls();
    let apart = |pair: &[Call<u32, Vec<u32>>]| pair[1].at >= pair[0].at + secs(1);
    // A thread may be called late for the first and on time for the second.
    assert!(driver != Driver::Inline || calls.windows(2).all(apart));
    assert!(driver != Driver::Inline || calls[0].at <= ms(1_050));
}

/// CockroachDB: deadlines at the very same instant are all kept.
fn twenty_identical_deadlines_all_fire(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    (0..20).for_each(|key| rig.insert(key, key));
    rig.advance(secs(5));
    rig.eventually("all twenty", || rig.sink.flushed().len() == 20);
}

/// Unleash: instances that tick together lock the same rows together.
fn synchronised_ticks_are_spread_by_jitter(driver: Driver) {
    let rigs =
        [1, 2].map(|seed| Lists::start(driver, |builder| builder.jitter(secs(5)).seed(seed).partitions(1)));
    let at = rigs.map(|rig| {
        rig.insert(1, 1);
        rig.pass_time_until("the flush", || !rig.sink.calls().is_empty());
        rig.sink.calls()[0].at
    });
    assert_ne!(at[0], at[1]);
}

/// Ehcache, Go's bundler (issue 475): what does not fill a batch must leave too.
fn a_partial_batch_leaves_at_its_deadline(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_batch_keys(10).flush_at_count(10));
    (0..13).for_each(|key| rig.insert(key, 1));
    rig.advance(secs(5));
    rig.eventually("all thirteen", || rig.sink.flushed().len() == 13);
}

/// Caffeine, vector: between one key and the limit.
fn no_batch_is_empty_and_none_is_too_large(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_batch_keys(7));
    for key in 0..100 {
        rig.insert(key, 1);
        rig.advance(ms(u64::from(key)));
        if key % 9 == 0 {
            drop(rig.buffer.remove(&(key / 2)));
            rig.buffer.flush_all();
        }
    }
    rig.pass_time_until("all is settled", || rig.buffer.stats().pending + rig.buffer.stats().in_flight == 0);
    let sizes: Vec<_> = rig.sink.calls().iter().map(|call| call.entries.len()).collect();
    assert!(sizes.iter().all(|size| (1..=7).contains(size)), "{sizes:?}");
}

/// vector: a stack instead of a queue reordered what had piled up.
fn a_backlog_leaves_in_the_order_in_which_it_fell_due(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.partitions(1).flush_concurrency(1).max_batch_keys(2));
    for key in 0..10 {
        rig.insert(key, 1);
        rig.advance(ms(1));
    }
    rig.advance(secs(60));
    rig.eventually("all ten", || rig.sink.flushed().len() == 10);
    let keys: Vec<_> = rig.sink.flushed().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, (0..10).collect::<Vec<_>>());
}

/// A hash whose high bits are the key's: quarter by quarter, so that the partition is known.
#[derive(Clone, Default)]
struct Quarters(u64);

impl BuildHasher for Quarters {
    type Hasher = Quarters;

    fn build_hasher(&self) -> Quarters {
        Quarters(0)
    }
}

impl Hasher for Quarters {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u8(&mut self, quarter: u8) {
        // The end of the quarter: for the last one, the very last hash.
        self.0 = ((u64::from(quarter) + 1) << 62).wrapping_sub(1);
    }
}

struct Order(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl write_behind::DataBuffer<u8, Vec<u8>> for Order {
    fn handle_flush(
        &self,
        key: &u8,
        _: &Vec<u8>,
        _: &write_behind::FlushContext,
    ) -> Result<(), write_behind::FlushError> {
        self.0.lock().unwrap().push(*key);
        Ok(())
    }
}

/// `DataBuffer` 0.1: the last partition was never used. A batch is put together partition by
/// partition, so its order shows in which one each key is.
#[test]
fn the_last_partition_is_used() {
    let order = std::sync::Arc::default();
    let clock = ManualClock::new();
    let sink = Order(std::sync::Arc::clone(&order));
    let builder = Buffer::builder().partitions(4).hasher(Quarters::default());
    let buffer = builder.start_inline(sink, &clock).expect("the settings are good");
    for quarter in [3, 2, 1, 0] {
        buffer.insert(quarter, 0).expect("there is room");
    }
    clock.advance(secs(5));
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}
