//! Counts that must be exact however many threads insert.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use write_behind::{Buffer, Overflow, Sum};

use crate::support::{Driver, Gate, Rig, Script, ms, secs};

each_concurrent_driver! {
    concurrent_counts_are_exact,
    an_insert_beside_a_take_is_not_stranded_without_a_timer,
    received_and_dropped_are_what_was_sent,
    consumed_and_shed_are_a_million,
    a_full_table_does_not_deadlock_with_its_flush,
    room_is_given_back_by_the_sinks_answer_and_not_by_the_take,
    inserts_go_on_while_a_callback_stands_still,
}

/// Inserts `per_thread` ones with each of four threads, spread over `keys` keys.
fn hammer(buffer: &Buffer<u64, Sum<u64>>, keys: u64, per_thread: u64) -> u64 {
    let accepted = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let accepted = &accepted;
            scope.spawn(move || {
                let taken = (0..per_thread).filter(|item| buffer.add(&((item + thread) % keys), 1).is_ok());
                accepted.fetch_add(taken.count() as u64, Ordering::Relaxed);
            });
        }
    });
    accepted.into_inner()
}

fn flushed(rig: &Rig<u64, Sum<u64>>) -> u64 {
    rig.sink.flushed().iter().map(|(_, sum)| sum.0).sum()
}

/// `DataBuffer` 0.1: 2 keys, 10 000 concurrent inserts each.
fn concurrent_counts_are_exact(driver: Driver) {
    let rig = Rig::start(driver, |builder| builder.flush_at_count(100));
    hammer(&rig.buffer, 2, 5_000);
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    for key in 0..2 {
        let of_key = rig.sink.flushed().into_iter().filter(|(flushed, _)| *flushed == key);
        assert_eq!(of_key.map(|(_, sum)| sum.0).sum::<u64>(), 10_000);
    }
}

/// `DataBuffer` 0.1: the counter bumped, then the data; a take in between stranded the insert.
fn an_insert_beside_a_take_is_not_stranded_without_a_timer(driver: Driver) {
    let rig = Rig::start(driver, |builder| builder.flush_at_count(2));
    hammer(&rig.buffer, 3, 2_501);
    rig.pass_time_until("every insert has its timer", || rig.buffer.stats().flushed == 10_004);
    assert_eq!(flushed(&rig), 10_004);
}

/// OpenTelemetry's span processor: received + dropped = sent, under 4 threads.
fn received_and_dropped_are_what_was_sent(driver: Driver) {
    let rig = Rig::start(driver, |builder| builder.max_keys(16).flush_at_count(50));
    let accepted = hammer(&rig.buffer, 64, 25_000);
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.flushed), (accepted, accepted));
    assert_eq!(stats.accepted + stats.rejected, 100_000);
    assert!(stats.rejected > 0, "it was never full");
    assert_eq!(flushed(&rig), accepted);
}

/// Java buffer-trigger: consumed + rejected = 1 000 000 under concurrent producers.
fn consumed_and_shed_are_a_million(driver: Driver) {
    let rig =
        Rig::start(driver, |builder| builder.max_keys(100).flush_at_count(500).overflow(Overflow::Shed));
    hammer(&rig.buffer, 110, 250_000);
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    let stats = rig.buffer.stats();
    assert_eq!(flushed(&rig) + stats.shed, 1_000_000);
    assert_eq!(rig.sink.shed().len() as u64, stats.shed);
}

/// limitador: at capacity, an insert and the flush that would make room waited for each other.
fn a_full_table_does_not_deadlock_with_its_flush(driver: Driver) {
    let overflow = Overflow::FlushOldest { timeout: secs(60) };
    let rig = Rig::start(driver, |builder| builder.max_keys(4).overflow(overflow));
    assert_eq!(hammer(&rig.buffer, 64, 500), 2_000);
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    assert_eq!(flushed(&rig), 2_000);
}

/// Java buffer-trigger: pressure was released when the batch was taken, before anybody had it.
fn room_is_given_back_by_the_sinks_answer_and_not_by_the_take(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Rig::<u64, Sum<u64>>::with(driver, sink, |builder| builder.max_keys(1));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    rig.buffer.insert(2, 1).expect_err("the first is still in flight");
    gate.open();
    rig.eventually("there is room", || rig.buffer.insert(2, 1).is_ok());
}

/// Rust buffer-trigger: the consumer ran under the write lock.
fn inserts_go_on_while_a_callback_stands_still(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Rig::<u64, Sum<u64>>::with(driver, sink, |builder| builder.partitions(1));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    assert_eq!(hammer(&rig.buffer, 3, 100), 400);
    assert_eq!(rig.buffer.total(&1), Some(1 + rig.buffer.peek(&1).pending[0].0));
    gate.open();
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    assert_eq!(flushed(&rig), 401);
    assert_eq!(rig.clock.now(), ms(0));
}
