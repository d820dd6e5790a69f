//! The last seconds: as long as there is time it is tried, and what is left is in the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use write_behind::{
    Buffer, DataBuffer, DeadLetter, FlushContext, FlushError, Retirement, RetryPolicy, ShutdownError, Sum,
    SummingBuffer, Verdict, WeakBuffer,
};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    shutdown_goes_on_trying_until_the_store_is_back,
    shutdown_returns_what_could_not_be_delivered_by_its_deadline,
    what_is_hopeless_does_not_keep_shutdown_waiting,
    a_second_shutdown_says_what_became_of_the_first,
    a_hundred_thousand_keys_are_handed_back_to_the_last,
}

each_concurrent_driver! {
    data_kept_after_the_deadline_is_returned_by_the_next_call,
}

type Totals = Rig<u32, Sum<i64>>;

/// Four attempts in 155 ms, and nine tenths of the patience were left.
fn shutdown_goes_on_trying_until_the_store_is_back(driver: Driver) {
    let sink = Script::keys(
        |sink: &Script<u32, Sum<i64>>, _, _| {
            if sink.clock().now() < secs(1) { Err("away".into()) } else { Ok(()) }
        },
    );
    let rig = Totals::with(driver, sink, |builder| builder.retry(steady().attempts(4)));
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.while_time_passes(|buffer| buffer.shutdown(secs(10))).expect("all is delivered");
    assert_eq!((rig.buffer.stats().flushed, rig.sink.given_up().len()), (10, 0));
    let calls = rig.sink.calls();
    let of_one: Vec<_> = calls.iter().filter(|call| call.entries[0].0 == 0).map(|call| call.at).collect();
    assert!(of_one.len() <= 8, "it does not hammer: {of_one:?}");
    assert!(of_one.windows(2).all(|pair| pair[1] - pair[0] >= ms(50)), "{of_one:?}");
}

fn shutdown_returns_what_could_not_be_delivered_by_its_deadline(driver: Driver) {
    let down = |_: &Script<u32, Sum<i64>>, _: &u32, _: &Sum<i64>| Err("away".to_owned());
    let rig = Totals::with(driver, Script::keys(down), |builder| builder.retry(RetryPolicy::never()));
    (0..10).for_each(|key| rig.insert(key, 2));
    let error = rig.while_time_passes(|buffer| buffer.shutdown(secs(10))).expect_err("it stays away");
    assert_eq!(error.to_string(), "10 inserts were not delivered");
    let mut left: Vec<_> =
        error.into_undelivered().into_iter().map(|left| (*left.key(), *left.data())).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).map(|key| (key, Sum(2))).collect::<Vec<_>>());
    assert!(rig.sink.calls().last().expect("it was tried").at >= secs(8), "it was tried to the end");
    assert_eq!(rig.buffer.stats().balance(), 0);
}

fn what_is_hopeless_does_not_keep_shutdown_waiting(driver: Driver) {
    let sink = Script::batches(|_, _: &write_behind::FlushBatch<u32, Sum<i64>>| {
        Err(FlushError::unknown("malformed").give_up())
    });
    let rig = Totals::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.shutdown(secs(3_600)).expect("handle_error has taken it");
    assert_eq!((rig.clock.now(), rig.buffer.stats().gave_up), (secs(0), 1));
}

fn a_second_shutdown_says_what_became_of_the_first(driver: Driver) {
    let rig = Totals::start(driver, |builder| builder);
    rig.insert(1, 1);
    let first = rig.buffer.shutdown(secs(0)).expect_err("there is no time");
    assert_eq!(first.into_undelivered().len(), 1);
    let second = rig.buffer.shutdown(secs(1)).expect_err("it was not delivered");
    assert!(matches!(second, ShutdownError::AlreadyReturned { inserts: 1 }));
    assert_eq!(second.to_string(), "1 inserts were not delivered; an earlier call has returned them");
    assert!(second.into_undelivered().is_empty());
}

fn a_hundred_thousand_keys_are_handed_back_to_the_last(driver: Driver) {
    let down = |_: &Script<u32, Sum<i64>>, _: &write_behind::FlushBatch<_, _>| Err("away".into());
    let rig = Totals::with(driver, Script::batches(down), |builder| builder.retry(RetryPolicy::new()));
    (0..50_000).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.pass_time_until("some have been tried", || rig.buffer.stats().in_flight >= 5_000);
    (50_000..100_000).for_each(|key| rig.insert(key, 1));
    (0..1_000).for_each(|key| rig.insert(key, 2));
    let left = rig.buffer.shutdown(secs(0)).expect_err("there is no time").into_undelivered();
    assert_eq!(left.inserts(), 101_000);
    let mut sums = vec![0; 100_000];
    left.into_iter().for_each(|left| sums[*left.key() as usize] += left.data().0);
    assert!(sums.iter().enumerate().all(|(key, sum)| *sum == if key < 1_000 { 3 } else { 1 }));
    let stats = rig.buffer.stats();
    assert_eq!((stats.returned, stats.keys, stats.weight, stats.balance()), (101_000, 0, 0, 0));
}

fn data_kept_after_the_deadline_is_returned_by_the_next_call(driver: Driver) {
    let gate = Gate::default();
    let down = |_: &Script<u32, Sum<i64>>, _: &u32, _: &Sum<i64>| Err("no".to_owned());
    let sink = Script::keys(down).keeping().errors_behind(&gate);
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    rig.insert(1, 7);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    rig.buffer.shutdown(secs(0)).expect("handle_error has it");
    gate.open();
    rig.eventually("it is kept", || rig.buffer.stats().undelivered == 1);
    let left = rig.buffer.shutdown(secs(0)).expect_err("it comes back").into_undelivered();
    let left: Vec<_> = left.into_iter().map(|left| left.into_parts().expect("it is free")).collect();
    assert_eq!(left, [(1, Sum(7))]);
    let stats = rig.buffer.stats();
    assert_eq!((stats.undelivered, stats.returned, stats.in_flight, stats.balance()), (0, 1, 0, 0));
}

/// Remembers what it is told at the end, and when it is dropped.
struct Witness {
    retired: Arc<Mutex<Vec<Retirement>>>,
    dropped: Arc<AtomicBool>,
    buffer: WeakBuffer<u32, Sum<i64>>,
    fails: bool,
}

impl DataBuffer<u32, Sum<i64>> for Witness {
    fn handle_flush(&self, _: &u32, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        if self.fails { Err(FlushError::unknown("no").give_up()) } else { Ok(()) }
    }

    fn handle_retired(&self, retirement: &Retirement) {
        let stats = self.buffer.upgrade().expect("a handle is left").stats();
        assert_eq!((stats.pending, stats.in_flight), (0, 0), "it is called when all is over");
        self.retired.lock().unwrap().push(*retirement);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        assert!(!self.dropped.swap(true, Ordering::SeqCst));
    }
}

fn end_of_a_sink(fails: bool) {
    let (retired, dropped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let witness = (Arc::clone(&retired), Arc::clone(&dropped));
    let buffer: SummingBuffer<u32, i64> = Buffer::builder()
        .start_cyclic(|buffer| Witness { retired: witness.0, dropped: witness.1, buffer, fails })
        .unwrap();
    buffer.add(&1, 1).unwrap();
    let left = buffer.shutdown(secs(60));
    assert_eq!(left.is_err(), fails, "the provided handle_error keeps what is given up");
    assert!(dropped.load(Ordering::SeqCst), "a handle is left, the sink is gone");
    let retired = retired.lock().unwrap();
    assert_eq!(retired.len(), 1);
    assert_eq!(retired[0].undelivered, u64::from(fails));
}

#[test]
fn a_sink_is_told_the_end_and_dropped_before_shutdown_returns() {
    end_of_a_sink(false);
}

#[test]
fn a_sink_is_told_what_was_not_delivered() {
    end_of_a_sink(true);
}

/// A sink whose callback hangs outlives shutdown, until the callback is back.
#[test]
fn a_sink_at_work_is_dropped_when_it_is_done() {
    struct Hanging(Gate, Arc<AtomicBool>);
    impl DataBuffer<u32, Sum<i64>> for Hanging {
        fn handle_flush(&self, _: &u32, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
            self.0.pass();
            Ok(())
        }

        fn handle_error(&self, _: DeadLetter<u32, Sum<i64>>) -> Verdict<u32, Sum<i64>> {
            unreachable!("it does not fail")
        }
    }
    impl Drop for Hanging {
        fn drop(&mut self) {
            self.1.store(true, Ordering::SeqCst);
        }
    }
    let (gate, dropped) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let sink = Hanging(gate.clone(), Arc::clone(&dropped));
    let buffer: SummingBuffer<u32, i64> = Buffer::builder().start(sink).unwrap();
    buffer.add(&1, 1).unwrap();
    buffer.flush(&1);
    gate.await_arrivals(1);
    buffer.shutdown(ms(0)).expect_err("it hangs");
    assert!(!dropped.load(Ordering::SeqCst));
    gate.open();
    let gone = std::time::Instant::now() + secs(30);
    while !dropped.load(Ordering::SeqCst) {
        assert!(std::time::Instant::now() < gone, "it is never dropped");
        std::thread::yield_now();
    }
    assert_eq!(buffer.stats().late, 1);
}
