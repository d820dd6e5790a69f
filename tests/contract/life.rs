//! Lines 17 to 19: how a buffer ends, and what may be called from where.

use std::sync::{Arc, Mutex};
use std::thread;

use write_behind::{
    Buffer, FlushWaitError, InsertErrorKind, Observer, Overflow, ShutdownError, Sum, UndeliveredState,
};

use crate::support::{Driver, Gate, Rig, Script, ms, secs, steady};

each_driver! {
    c17_shutdown_flushes_at_once_and_closes_the_gate,
    c17_shutdown_does_not_wait_for_backoff,
    c17_shutdown_returns_by_its_deadline_with_what_is_left,
    c17_shutdown_delivers_all_parts_of_an_overflowed_total,
    c17_shutdown_is_idempotent,
    c17_shutdown_without_end_ends_when_all_is_delivered,
    c18_dropping_the_last_handle_flushes,
    c18_dropping_the_last_handle_reports_what_is_left,
    c18_dropping_one_of_two_handles_changes_nothing,
    c19_calls_that_would_wait_for_themselves_return_an_error,
    c19_a_full_buffer_does_not_block_its_own_sink,
    c19_shutdown_from_a_callback_drains_by_itself,
}

each_concurrent_driver! {
    c17_concurrent_callers_all_get_an_answer,
    c17_no_insert_is_both_accepted_and_missed,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn c17_shutdown_flushes_at_once_and_closes_the_gate(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.interval(secs(3_600)));
    rig.insert("a", 1);
    rig.insert("b", 2);
    assert!(!rig.buffer.is_closed());
    rig.buffer.shutdown(secs(5)).expect("all is delivered");
    assert_eq!(rig.clock.now(), ms(0));
    assert_eq!(rig.buffer.stats().flushed, 2);
    assert_eq!(rig.sink.calls()[0].reason, write_behind::FlushReason::Shutdown);
    assert!(rig.buffer.is_closed());
    let error = rig.buffer.insert("c", 3).expect_err("it is closed");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::Closed, ("c", 3)));
}

fn c17_shutdown_does_not_wait_for_backoff(driver: Driver) {
    let sink = Script::batches(|_, batch| match batch.attempt() {
        1 => Err("later".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.retry(steady().attempts(4).delay(secs(30))));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it waits for its retry", || rig.buffer.stats().retries == 1);
    rig.buffer.shutdown(secs(5)).expect("all is delivered");
    assert_eq!(rig.clock.now(), ms(0));
    assert_eq!(rig.buffer.stats().flushed, 1);
}

fn c17_shutdown_returns_by_its_deadline_with_what_is_left(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let retry = steady();
    let rig = Lists::with(driver, sink, |builder| builder.retry(retry).max_batch_keys(1));
    rig.insert("a", 1);
    rig.insert("b", 2);
    let error = rig.while_time_passes(|buffer| buffer.shutdown(secs(2))).expect_err("the sink is down");
    assert!(driver != Driver::Inline || rig.clock.now() == secs(2));
    assert!(matches!(error, ShutdownError::Undelivered(ref left) if left.inserts() == 2));
    let left = error.into_undelivered().into_iter().collect::<Vec<_>>();
    // With threads an attempt may be running at that very moment.
    let retrying = |state: &UndeliveredState| matches!(state, UndeliveredState::Retrying { .. });
    assert!(driver != Driver::Inline || left.iter().all(|key| retrying(key.state())));
    let mut left: Vec<_> = left.iter().map(|key| (*key.key(), key.data().clone())).collect();
    left.sort_unstable();
    assert_eq!(left, [("a", vec![1]), ("b", vec![2])]);
    rig.eventually("no callback is left", || rig.buffer.stats().workers == 0);
    let attempts = rig.sink.calls().len();
    rig.advance(secs(60));
    assert_eq!(rig.sink.calls().len(), attempts, "no attempt after the end");
    let stats = rig.buffer.stats();
    assert_eq!((stats.returned, stats.keys, stats.weight, stats.balance()), (2, 0, 0, 0));
}

fn c17_shutdown_delivers_all_parts_of_an_overflowed_total(driver: Driver) {
    let rig = Rig::<&'static str, Sum<i64>>::start(driver, |builder| builder.interval(secs(3_600)));
    for amount in [i64::MAX, 1, i64::MAX, 1] {
        rig.insert("key", amount);
    }
    let result = rig.while_time_passes(|buffer| buffer.shutdown(secs(600)));
    assert!(result.is_ok(), "{result:?}");
    let total: i128 = rig.sink.flushed().iter().map(|(_, sum)| i128::from(sum.0)).sum();
    assert_eq!(total, 2 * i128::from(i64::MAX) + 2);
}

fn c17_shutdown_is_idempotent(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    let first = rig.buffer.shutdown(ms(0)).expect_err("nothing was delivered");
    assert_eq!(first.into_undelivered().len(), 1);
    let second = rig.buffer.shutdown(secs(5)).expect_err("it still was not");
    assert!(matches!(second, ShutdownError::AlreadyReturned { inserts: 1 }));
    let empty = Lists::start(driver, |builder| builder);
    for _ in 0..3 {
        empty.buffer.shutdown(secs(1)).expect("there was nothing");
    }
}

fn c17_shutdown_without_end_ends_when_all_is_delivered(driver: Driver) {
    let never = std::time::Duration::MAX;
    let rig = Lists::start(driver, |builder| builder.flush_timeout(never));
    rig.insert("key", 1);
    rig.buffer.shutdown(never).expect("all is delivered");
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().panics), (1, 0));
}

struct Left(Arc<Mutex<Vec<(usize, u64)>>>);

impl Observer for Left {
    fn undelivered(&self, _: &str, keys: usize, inserts: u64) {
        self.0.lock().unwrap().push((keys, inserts));
    }
}

fn c18_dropping_the_last_handle_flushes(driver: Driver) {
    let left = Arc::default();
    let observer = Left(Arc::clone(&left));
    let rig = Lists::start(driver, |builder| builder.observer(observer).drop_timeout(secs(5)));
    rig.insert("key", 1);
    let Rig { buffer, sink, .. } = rig;
    drop(buffer);
    // With an async sink nobody waits for it.
    driver.eventually("the flush", || sink.flushed() == [("key", vec![1])]);
    assert_eq!(*left.lock().unwrap(), []);
}

fn c18_dropping_the_last_handle_reports_what_is_left(driver: Driver) {
    let left = Arc::default();
    let observer = Left(Arc::clone(&left));
    let rig = Lists::start(driver, |builder| builder.observer(observer));
    rig.insert("a", 1);
    rig.insert("a", 2);
    rig.insert("b", 3);
    let Rig { buffer, .. } = rig;
    // The rig's patience is zero.
    drop(buffer);
    driver.eventually("the report", || *left.lock().unwrap() == [(2, 3)]);
}

fn c18_dropping_one_of_two_handles_changes_nothing(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    drop(rig.buffer.clone());
    let weak = rig.buffer.downgrade();
    drop(weak.upgrade().expect("a handle is left"));
    assert!(!rig.buffer.is_closed());
    drop(rig);
    assert!(weak.upgrade().is_none());
}

fn c19_calls_that_would_wait_for_themselves_return_an_error(driver: Driver) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&answers);
    let sink = Script::batches(move |sink: &Script<&'static str, Vec<u32>>, _| {
        let buffer = sink.buffer();
        noted.lock().unwrap().push(buffer.flush_and_wait("key", secs(60)));
        noted.lock().unwrap().push(buffer.flush_all_and_wait(secs(60)));
        every_other_method(&buffer);
        Ok(())
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("the flush is over", || rig.buffer.stats().flushed == 1);
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| matches!(answer, Err(FlushWaitError::WouldDeadlock))));
    assert_eq!(rig.buffer.stats().panics, 0);
}

fn every_other_method(buffer: &Buffer<&'static str, Vec<u32>>) {
    assert_eq!(buffer.count("key").in_flight, 1);
    assert!(buffer.peek("key").in_flight.is_some());
    assert_eq!(buffer.keys(), ["key"]);
    assert_eq!(buffer.snapshot().len(), 1);
    buffer.insert("other", 1).expect("there is room");
    buffer.insert_ref(&"other", 2).expect("there is room");
    buffer.insert_many([("other", 3)]).expect("there is room");
    assert_eq!(buffer.remove("other"), [vec![1, 2, 3]]);
    buffer.flush("other");
    buffer.flush_all();
    assert!(buffer.contains("key") && !buffer.is_closed());
    assert_eq!(buffer.stats().balance(), 0);
    drop(buffer.clone().downgrade());
}

fn c19_a_full_buffer_does_not_block_its_own_sink(driver: Driver) {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&kinds);
    let sink = Script::batches(move |sink: &Script<&'static str, Vec<u32>>, _| {
        noted.lock().unwrap().push(sink.buffer().insert("other", 1).map_err(|error| error.kind));
        Ok(())
    });
    let overflow = Overflow::Block { timeout: secs(60) };
    let rig = Lists::with(driver, sink, |builder| builder.max_keys(1).overflow(overflow));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("the flush is over", || rig.buffer.stats().flushed == 1);
    assert_eq!(*kinds.lock().unwrap(), [Err(InsertErrorKind::Full)]);
}

fn c19_shutdown_from_a_callback_drains_by_itself(driver: Driver) {
    let sink =
        Script::batches(|sink: &Script<&'static str, Vec<u32>>, _| match sink.buffer().shutdown(secs(5)) {
            Err(ShutdownError::WouldDeadlock) => Ok(()),
            other => panic!("{other:?}"),
        });
    let rig = Lists::with(driver, sink, |builder| builder.max_batch_keys(1));
    rig.insert("a", 1);
    rig.insert("b", 2);
    rig.buffer.flush("a");
    rig.eventually("it drains by itself", || rig.buffer.stats().flushed == 2);
    assert!(rig.buffer.is_closed());
    rig.buffer.shutdown(secs(5)).expect("all was delivered");
}

/// A callback that runs past the deadline is left alone, and nothing is lost from sight.
#[test]
fn c17_a_callback_that_runs_past_the_deadline_is_returned_as_such() {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(Driver::Threads, sink, |builder| builder);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    gate.await_arrivals(1);
    let error = rig.while_time_passes(|buffer| buffer.shutdown(secs(1))).expect_err("it still runs");
    let mut left = error.into_undelivered().into_iter().collect::<Vec<_>>();
    let undelivered = left.pop().expect("one key");
    assert!(matches!(undelivered.state(), UndeliveredState::InCallback));
    let undelivered = undelivered.into_parts().expect_err("the callback still reads it");
    assert_eq!((undelivered.key(), undelivered.data()), (&"key", &vec![1]));
    gate.open();
    rig.eventually("it comes back late", || rig.buffer.stats().late == 1);
    let stats = rig.buffer.stats();
    assert_eq!((stats.returned, stats.flushed, stats.balance()), (1, 0, 0));
}

fn c17_concurrent_callers_all_get_an_answer(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    let errors: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| rig.buffer.shutdown(ms(0)))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap().expect_err("nothing was delivered")).collect()
    });
    let told = |error: &&ShutdownError<_, _>| matches!(error, ShutdownError::AlreadyReturned { inserts: 1 });
    assert_eq!(errors.iter().filter(told).count(), 3, "{errors:?}");
    let got: usize = errors.into_iter().map(|error| error.into_undelivered().len()).sum();
    assert_eq!(got, 1, "exactly one caller gets the data");
}

fn c17_no_insert_is_both_accepted_and_missed(driver: Driver) {
    for _ in 0..50 {
        let rig = Rig::<u32, Vec<u32>>::start(driver, |builder| builder.partitions(4));
        let accepted: usize = thread::scope(|scope| {
            let inserters: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| (0..).take_while(|item| rig.buffer.insert(item % 16, 1).is_ok()).count())
                })
                .collect();
            rig.eventually("they have begun", || rig.buffer.stats().accepted > 20);
            rig.buffer.shutdown(secs(60)).expect("all is delivered");
            inserters.into_iter().map(|inserter| inserter.join().unwrap()).sum()
        });
        let flushed: usize = rig.sink.flushed().iter().map(|(_, items)| items.len()).sum();
        assert_eq!(flushed, accepted);
    }
}

/// Passes a gate before it lets a retry be scheduled.
struct Slow(Gate);

impl Observer for Slow {
    fn flush_retried(&self, _: &write_behind::FlushEvent<'_>, _: std::time::Duration) {
        self.0.pass();
    }
}

/// The attempt fails while shutdown's deadline passes: it is neither flushed nor forgotten.
#[test]
fn c17_a_failure_that_races_the_deadline_is_returned() {
    let gate = Gate::default();
    let observer = Slow(gate.clone());
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(Driver::Threads, sink, |builder| builder.observer(observer));
    rig.insert("key", 1);
    rig.buffer.flush("key");
    gate.await_arrivals(1);
    let first = rig.while_time_passes(|buffer| buffer.shutdown(secs(1)));
    gate.open();
    rig.eventually("it is not in flight for ever", || rig.buffer.stats().in_flight == 0);
    let second = rig.buffer.shutdown(secs(1));
    let left =
        [first, second].map(|result| result.map_or_else(|error| error.into_undelivered().len(), |_| 0));
    assert_eq!(left.iter().sum::<usize>(), 1);
}

/// The wait was chosen before shutdown began, and is entered in the schedule after shutdown has
/// hurried all that waits.
#[test]
fn c17_a_backoff_that_races_shutdown_is_hurried_too() {
    let gate = Gate::default();
    let opened = gate.clone();
    let sink = Script::batches(move |_, batch| match (batch.reason(), batch.attempt()) {
        (write_behind::FlushReason::Requested, 1) => Err("later".to_owned().into()),
        (write_behind::FlushReason::Shutdown, _) => {
            opened.open();
            Ok(())
        }
        _ => Ok(()),
    });
    let retry = steady().attempts(4).delay(secs(3_600)).cap(secs(3_600));
    let observer = Slow(gate.clone());
    let rig = Lists::with(Driver::Threads, sink, |builder| builder.retry(retry).observer(observer));
    rig.insert("retried", 1);
    rig.buffer.flush("retried");
    gate.await_arrivals(1);
    rig.insert("pending", 2);
    rig.while_time_passes(|buffer| buffer.shutdown(secs(7_200))).expect("all is delivered");
    assert!(rig.clock.now() < secs(3_600), "it waited for the backoff");
}
