use std::sync::{Arc, Mutex};

use write_behind::{FailedEntry, FailureCause, FlushBatch, FlushError, FlushWaitError, RetryPolicy, Verdict};

use crate::support::{Answer, Driver, Rig, Script, secs, steady};

each_driver! {
    naming_an_entry_of_another_batch_is_misreported,
    naming_an_entry_twice_is_misreported,
    naming_no_entry_is_success,
    a_failure_names_its_entry_in_whatever_order_it_is_looked_at,
    a_panic_of_one_key_is_its_own,
    handle_error_is_told_the_last_batch,
    a_requeue_ends_the_wait_with_the_error,
    data_taken_out_by_handle_error_is_its_own,
    reads_do_not_see_what_is_kept,
    a_deadline_far_away_is_kept,
}

type Lists = Rig<u32, Vec<u32>>;

/// What is said of a sink that answers to a batch of two in this way.
fn misreported(
    driver: Driver,
    names: impl Fn(&FlushBatch<u32, Vec<u32>>) -> Vec<FailedEntry> + Send + Sync + 'static,
) -> String {
    let sink = Script::batches(move |_, batch| -> Answer { FlushError::entries(names(batch)) });
    let rig = Lists::with(driver, sink, |builder| builder.retry(steady().attempts(2)).partitions(1));
    rig.insert(1, 1);
    rig.insert(2, 2);
    rig.buffer.flush_all();
    rig.pass_time_until("both are given up", || rig.buffer.stats().gave_up == 2);
    let calls = rig.sink.calls();
    let resent = calls.windows(2).all(|pair| pair[0].id == pair[1].id);
    assert!(calls.len() == 2 && resent, "its outcome is unknown: {calls:?}");
    rig.sink.given_up()[0].3.clone()
}

fn naming_an_entry_of_another_batch_is_misreported(driver: Driver) {
    // The third entry of a larger batch.
    let other = Arc::new(Mutex::new(None));
    let remembered = Arc::clone(&other);
    let larger = Script::batches(move |_, batch: &FlushBatch<u32, Vec<u32>>| {
        *remembered.lock().unwrap() = Some(batch.entries()[2].failed("no"));
        Ok(())
    });
    let rig = Lists::with(driver, larger, |builder| builder.partitions(1));
    (0..3).for_each(|key| rig.insert(key, 1));
    rig.buffer.flush_all();
    rig.eventually("the larger batch", || rig.buffer.stats().flushed == 3);
    let words = misreported(driver, move |batch| match other.lock().unwrap().take() {
        Some(foreign) => vec![foreign],
        None => vec![batch.entries()[0].failed("no"), batch.entries()[0].failed("no")],
    });
    assert!(words.contains("misreported"), "{words}");
}

fn naming_an_entry_twice_is_misreported(driver: Driver) {
    let words = misreported(driver, |batch| {
        [1, 0, 1].map(|place: usize| batch.entries()[place].failed(FlushError::not_applied("no"))).into()
    });
    assert!(words.contains("names entry 1 twice"), "{words}");
}

fn naming_no_entry_is_success(driver: Driver) {
    let sink = Script::batches(|_, _| FlushError::entries([]));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it is flushed", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.buffer.stats().failures, 0);
}

/// A sink that writes in the order of keys and fails the third: by its place it would be another entry.
fn a_failure_names_its_entry_in_whatever_order_it_is_looked_at(driver: Driver) {
    let sink = Script::batches(|_, batch: &FlushBatch<u32, Vec<u32>>| match batch.len() {
        1 => Ok(()),
        _ => FlushError::entries([batch.sorted()[2].failed(FlushError::not_applied("no room"))]),
    });
    let rig = Lists::with(driver, sink, |builder| builder.partitions(1));
    for key in [5, 3, 9, 1, 7] {
        rig.insert(key, key);
    }
    rig.buffer.flush_all();
    rig.pass_time_until("all is flushed", || rig.buffer.stats().flushed == 5);
    let again: Vec<_> = rig.sink.calls().into_iter().skip(1).map(|call| call.entries).collect();
    assert_eq!(again, [[(5, vec![5])]], "the third by its key is sent again, and no other");
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
    let sink = sink.on_error(|sink: &Script<u32, Vec<u32>>, letter| {
        assert_eq!(Some(letter.batch()), sink.calls().last().map(|call| call.id));
        assert_eq!((letter.count(), letter.attempts(), letter.data()), (2, 4, &vec![1, 2]));
        let FailureCause::Error(error) = letter.cause() else { panic!("{letter:?}") };
        assert_eq!(error.to_string(), "down");
        assert!(letter.may_be_applied());
        Verdict::Forget
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.insert(1, 2);
    rig.pass_time_until("it is given up", || rig.buffer.stats().gave_up == 2);
    assert_eq!(rig.buffer.stats().panics, 0);
}

fn a_requeue_ends_the_wait_with_the_error(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::not_applied("not now".to_owned()).give_up()));
    let sink = sink.on_error(|_, letter| Verdict::Requeue(letter));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    let waited = rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(600)));
    assert!(matches!(waited, Err(FlushWaitError::Failed(failure)) if failure.to_string() == "not now"));
    assert_eq!(rig.buffer.count(&1).total(), 1);
}

fn data_taken_out_by_handle_error_is_its_own(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::not_applied("no".to_owned()).give_up()));
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

fn reads_do_not_see_what_is_kept(driver: Driver) {
    let sink = Script::batches(|_, _| Err(FlushError::not_applied("no").give_up())).keeping();
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it is kept", || rig.buffer.stats().undelivered == 1);
    assert!(rig.buffer.peek(&1).is_empty() && !rig.buffer.contains(&1) && rig.buffer.keys().is_empty());
    assert_eq!((rig.buffer.stats().in_flight, rig.buffer.stats().keys), (1, 1));
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
