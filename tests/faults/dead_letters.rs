//! What becomes of data that was given up: nothing is lost unless somebody says so, and what may have
//! been applied is never sent under another id.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use write_behind::{
    AsyncDataBuffer, BatchId, Buffer, FlushContext, FlushError, ManualClock, RetryPolicy, Sum,
    UndeliveredState, Verdict,
};

use crate::support::{Answer, Driver, Rig, Script, secs, steady};

each_driver! {
    an_outage_of_six_seconds_loses_nothing_on_defaults,
    what_is_kept_is_returned_by_shutdown,
    putting_back_after_an_unknown_outcome_counts_once,
    a_batch_of_unknown_outcome_is_put_back_whole_or_not_at_all,
    what_was_not_applied_is_put_back_alone,
    undelivered_data_can_be_offered_again,
    undelivered_data_of_unknown_outcome_is_offered_as_it_was,
    an_undelivered_key_whose_newer_data_is_in_flight_is_offered_later,
    undelivered_data_counts_towards_the_bounds,
}

type Totals = Rig<u32, Sum<i64>>;

/// A store that records the ids of what it applies, and loses its first answers.
#[derive(Default)]
struct Ledger {
    applied: HashSet<BatchId>,
    total: i64,
}

fn ledger_sink(ledger: &Arc<Mutex<Ledger>>, lost: usize) -> Script<u32, Sum<i64>> {
    let ledger = Arc::clone(ledger);
    Script::batches(move |sink: &Script<u32, Sum<i64>>, batch| -> Answer {
        let mut ledger = ledger.lock().unwrap();
        if ledger.applied.insert(batch.id()) {
            ledger.total += batch.entries().iter().map(|entry| entry.data().0).sum::<i64>();
        }
        if sink.calls().len() <= lost {
            Err("the answer was lost")?
        }
        Ok(())
    })
}

/// A thousand of a thousand and one inserts were gone, and shutdown said that all was well.
fn an_outage_of_six_seconds_loses_nothing_on_defaults(driver: Driver) {
    let sink = Script::keys(
        |sink: &Script<u32, Sum<i64>>, _, _| {
            if sink.clock().now() < secs(11) { Err("away".into()) } else { Ok(()) }
        },
    );
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::new()));
    (0..100).for_each(|key| rig.insert(key, 1));
    rig.advance(secs(5));
    rig.pass_time_until("it is back", || rig.clock.now() > secs(11));
    rig.insert(1_000, 1);
    rig.while_time_passes(|buffer| buffer.shutdown(secs(60))).expect("all is delivered");
    assert_eq!(rig.buffer.stats().flushed, 101);
}

fn what_is_kept_is_returned_by_shutdown(driver: Driver) {
    let down = |_: &Script<u32, Sum<i64>>, _: &u32, _: &Sum<i64>| Err("down".to_owned());
    let rig =
        Totals::with(driver, Script::keys(down).keeping(), |builder| builder.retry(RetryPolicy::never()));
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("all are kept", || rig.buffer.stats().undelivered == 3);
    let stats = rig.buffer.stats();
    assert_eq!((stats.gave_up, stats.in_flight, stats.keys, stats.balance()), (0, 3, 3, 0));
    let left = rig.buffer.shutdown(secs(5)).expect_err("they come back").into_undelivered();
    assert_eq!((left.len(), left.inserts()), (3, 3));
    for left in left {
        assert!(matches!(left.state(), UndeliveredState::GivenUp { attempts: 1, .. }), "{left:?}");
        assert!(left.may_be_applied());
        assert_eq!(*left.data(), Sum(1));
    }
}

/// It dropped everything, and nobody was told.
#[test]
fn the_provided_handle_error_keeps() {
    let refuse = |_: &u32, _: &Sum<i64>| Err(FlushError::not_applied("no").give_up());
    let buffer = Buffer::builder().start_inline(refuse, &ManualClock::new()).unwrap();
    buffer.add(&1, 5).unwrap();
    buffer.flush_and_wait(&1, secs(1)).expect_err("it is refused");
    assert_eq!((buffer.stats().undelivered, buffer.stats().gave_up), (1, 0));
    let left = buffer.shutdown(secs(1)).expect_err("it comes back").into_undelivered();
    let left: Vec<_> = left.into_iter().map(|left| left.into_parts().expect("it is free")).collect();
    assert_eq!(left, [(1, Sum(5))]);
}

#[tokio::test]
async fn the_provided_async_handle_error_keeps() {
    struct Refusing;
    impl AsyncDataBuffer<u32, Sum<i64>> for Refusing {
        async fn handle_flush(&self, _: &u32, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
            Err(FlushError::not_applied("no").give_up())
        }
    }
    let buffer = Buffer::builder().start_async(Refusing).unwrap();
    buffer.add(&1, 5).unwrap();
    let left = buffer.shutdown_async(secs(60)).await.expect_err("it comes back").into_undelivered();
    assert_eq!((left.len(), left.inserts()), (1, 1));
}

/// A thousand became two thousand with a ledger in place, because it went out under a new id.
fn putting_back_after_an_unknown_outcome_counts_once(driver: Driver) {
    let ledger = Arc::default();
    let sink = ledger_sink(&ledger, 1).on_error(|_, letter| Verdict::Requeue(letter));
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()).partitions(1));
    (0..10).for_each(|key| rig.insert(key, 100));
    rig.buffer.flush_all();
    rig.eventually("all are put back", || rig.sink.given_up().len() == 10);
    let put_back = rig.clock.now();
    (0..10).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 20);
    assert_eq!(ledger.lock().unwrap().total, 1_010);
    let calls = rig.sink.calls();
    assert_eq!((calls[1].id, &calls[1].entries, calls[1].attempt), (calls[0].id, &calls[0].entries, 1));
    assert!(calls[1].at >= put_back + secs(5), "no earlier than an interval later");
    assert_eq!(rig.sink.overlaps(), 0);
}

fn a_batch_of_unknown_outcome_is_put_back_whole_or_not_at_all(driver: Driver) {
    let ledger = Arc::default();
    let sink = ledger_sink(&ledger, 1).on_error(|_, letter| match letter.key() {
        0 => Verdict::Forget,
        _ => Verdict::Requeue(letter),
    });
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()).partitions(1));
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("two are kept", || rig.buffer.stats().undelivered == 2);
    assert_eq!(rig.buffer.retry_undelivered(), 0, "an id stands for all that it was sent with");
    rig.advance(secs(60));
    assert_eq!(rig.sink.calls().len(), 1);
    let left = rig.buffer.shutdown(secs(5)).expect_err("they come back").into_undelivered();
    let mut keys: Vec<_> = left.into_iter().map(|left| (*left.key(), left.batch())).collect();
    keys.sort_unstable();
    let id = Some(rig.sink.calls()[0].id);
    assert_eq!(keys, [(1, id), (2, id)]);
}

fn what_was_not_applied_is_put_back_alone(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Sum<i64>>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("refused").give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|_, letter| match letter.key() {
        0 => Verdict::Forget,
        _ => Verdict::Requeue(letter),
    });
    let rig = Totals::with(driver, sink, |builder| builder.partitions(1));
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("two are put back", || rig.buffer.stats().pending == 2);
    rig.insert(2, 5);
    rig.pass_time_until("both are flushed", || rig.buffer.stats().flushed == 3);
    let mut flushed = rig.sink.flushed();
    flushed.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(flushed, [(1, Sum(1)), (2, Sum(6))]);
}

fn undelivered_data_can_be_offered_again(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Sum<i64>>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("refused").give_up()),
        _ => Ok(()),
    });
    let rig = Totals::with(driver, sink.keeping(), |builder| builder.partitions(1));
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("all are kept", || rig.buffer.stats().undelivered == 3);
    rig.insert(1, 10);
    assert_eq!(rig.buffer.retry_undelivered(), 3);
    assert_eq!(rig.buffer.peek(&1).pending, [Sum(11)], "older data comes before newer");
    let stats = rig.buffer.stats();
    assert_eq!(
        (stats.undelivered, stats.pending, stats.keys, stats.weight, stats.balance()),
        (0, 4, 3, 3, 0)
    );
    assert_eq!(rig.buffer.retry_undelivered(), 0);
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 4);
    let stats = rig.buffer.stats();
    assert_eq!((stats.keys, stats.weight, stats.in_flight), (0, 0, 0));
}

fn undelivered_data_of_unknown_outcome_is_offered_as_it_was(driver: Driver) {
    let ledger = Arc::default();
    let rig = Totals::with(driver, ledger_sink(&ledger, 1).keeping(), |builder| {
        builder.retry(RetryPolicy::never()).partitions(1)
    });
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("all are kept", || rig.buffer.stats().undelivered == 3);
    rig.insert(1, 10);
    assert_eq!(rig.buffer.retry_undelivered(), 3);
    rig.eventually("it is settled", || rig.buffer.stats().flushed == 3);
    rig.pass_time_until("so is the newer data", || rig.buffer.stats().flushed == 4);
    assert_eq!(ledger.lock().unwrap().total, 13);
    let calls = rig.sink.calls();
    assert_eq!((calls[1].id, &calls[1].entries), (calls[0].id, &calls[0].entries));
    assert!(calls[2].settled_below > calls[0].id.sequence, "its record can be forgotten now");
    let stats = rig.buffer.stats();
    assert_eq!((stats.keys, stats.weight, stats.in_flight, stats.balance()), (0, 0, 0, 0));
}

fn an_undelivered_key_whose_newer_data_is_in_flight_is_offered_later(driver: Driver) {
    let sink = Script::keys(|sink: &Script<u32, Sum<i64>>, _, data| match data.0 {
        1 if sink.calls().len() == 1 => Err("lost".into()),
        2 if sink.clock().now() < secs(60) => Err("lost".into()),
        _ => Ok(()),
    });
    let sink = sink.keeping();
    let rig = Totals::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it is kept", || rig.buffer.stats().undelivered == 1);
    rig.insert(1, 2);
    rig.buffer.flush(&1);
    rig.eventually("so is the newer one", || rig.buffer.stats().undelivered == 2);
    assert_eq!(rig.buffer.retry_undelivered(), 1, "one at a time: a key is in flight once");
    rig.eventually("the older one is stored", || rig.buffer.stats().flushed == 1);
    rig.advance(secs(60));
    assert_eq!(rig.buffer.retry_undelivered(), 1);
    rig.eventually("and the newer one", || rig.buffer.stats().flushed == 2);
    assert_eq!((rig.sink.overlaps(), rig.buffer.stats().keys), (0, 0));
}

fn undelivered_data_counts_towards_the_bounds(driver: Driver) {
    let sink = Script::batches(|_, _: &_| Err(FlushError::unknown("no").give_up())).keeping();
    let rig = Totals::with(driver, sink, |builder| builder.max_keys(2).retry(steady()));
    rig.insert(1, 1);
    rig.insert(2, 1);
    rig.buffer.flush_all();
    rig.eventually("both are kept", || rig.buffer.stats().undelivered == 2);
    rig.buffer.insert(3, 1).expect_err("there is no room beside what is kept");
}
