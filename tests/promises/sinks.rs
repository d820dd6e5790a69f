use std::error::Error;

use write_behind::{
    FlushBatch, FlushError, FlushFailure, FlushWaitError, KeyFailure, Outcome, RetryPolicy, Verdict,
};

use crate::support::{Answer, Driver, Rig, Script, secs};

each_driver! {
    naming_an_entry_outside_the_batch_is_misreported,
    naming_an_entry_twice_is_misreported,
    naming_no_entry_is_success,
    a_panic_of_one_key_is_its_own,
    handle_error_is_told_the_last_batch,
    a_requeue_ends_the_wait_with_the_error,
    data_taken_out_by_handle_error_is_its_own,
    a_deadline_far_away_is_kept,
}

type Lists = Rig<u32, Vec<u32>>;

fn misreported(driver: Driver, places: &'static [usize]) -> String {
    let sink = Script::batches(move |_, _: &FlushBatch<u32, Vec<u32>>| -> Answer {
        let failure = |place: &usize| KeyFailure::new(*place, Outcome::NotApplied, "no".to_owned());
        Err(FlushError::keys(places.iter().map(failure)))
    });
    let rig = Lists::with(driver, sink, |builder| builder.retry(RetryPolicy::new().attempts(2)));
    rig.insert(1, 1);
    rig.insert(2, 2);
    rig.pass_time_until("both are given up", || rig.buffer.stats().gave_up == 2);
    let calls = rig.sink.calls();
    let resent = calls.windows(2).all(|pair| pair[0].id == pair[1].id);
    assert!(calls.len() == 2 && resent, "its outcome is unknown: {calls:?}");
    rig.sink.given_up()[0].3.clone()
}

fn naming_an_entry_outside_the_batch_is_misreported(driver: Driver) {
    let words = misreported(driver, &[0, 2]);
    assert!(words.contains("names entry 2 of a batch of 2"), "{words}");
}

fn naming_an_entry_twice_is_misreported(driver: Driver) {
    let words = misreported(driver, &[1, 0, 1]);
    assert!(words.contains("names entry 1 twice"), "{words}");
}

fn naming_no_entry_is_success(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::keys([])));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it is flushed", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.buffer.stats().failures, 0);
}

fn a_panic_of_one_key_is_its_own(driver: Driver) {
    let sink = Script::keys(|_, key, _| match key {
        3 => panic!("number {key}"),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder.retry(RetryPolicy::never()));
    (0..6).for_each(|key| rig.insert(key, 1));
    rig.pass_time_until("all is settled", || rig.buffer.stats().flushed + rig.buffer.stats().gave_up == 6);
    assert_eq!(rig.sink.given_up(), [(3, vec![1], 1, "the callback panicked: number 3".to_owned())]);
    assert_eq!(rig.buffer.stats().panics, 1);
}

fn handle_error_is_told_the_last_batch(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let sink = sink.on_error(|sink: &Script<u32, Vec<u32>>, failed| {
        assert_eq!(Some(failed.batch()), sink.calls().last().and_then(|call| call.id));
        assert_eq!((failed.count(), failed.attempts(), failed.data()), (2, 4, &vec![1, 2]));
        let FlushFailure::Error(error) = failed.failure() else { panic!("{failed:?}") };
        assert_eq!(error.to_string(), "down");
        assert!(failed.failure().source().is_some());
        Verdict::Done
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.insert(1, 2);
    rig.pass_time_until("it is given up", || rig.buffer.stats().gave_up == 2);
    assert_eq!(rig.buffer.stats().panics, 0);
}

fn a_requeue_ends_the_wait_with_the_error(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::fatal("not now".to_owned())));
    let sink = sink.on_error(|_, failed| Verdict::Requeue(failed.into_data()));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    let waited = rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(600)));
    assert!(matches!(waited, Err(FlushWaitError::Failed(failure)) if failure.to_string() == "not now"));
    assert_eq!(rig.buffer.count(&1).total(), 1);
}

fn data_taken_out_by_handle_error_is_its_own(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::fatal("no".to_owned())));
    let sink = sink.on_error(|_, failed| {
        let (key, data) = failed.into_parts();
        panic!("it had taken {key} and {data:?}");
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it is settled", || rig.buffer.stats().gave_up == 1);
    assert_eq!((rig.buffer.stats().undelivered, rig.buffer.stats().in_flight), (0, 0));
}

fn a_deadline_far_away_is_kept(driver: Driver) {
    let days = secs(12 * 24 * 60 * 60);
    let rig = Lists::start(driver, |builder| builder.interval(days));
    rig.insert(1, 1);
    rig.advance(days - secs(1));
    assert_eq!(rig.sink.calls().len(), 0);
    rig.advance(secs(1));
    rig.eventually("the flush", || rig.buffer.stats().flushed == 1);
}
