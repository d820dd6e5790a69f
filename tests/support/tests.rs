//! The rig itself: a suite that hears nothing proves nothing.

use write_behind::{FlushError, FlushReason, Overflow, Verdict};

use super::{Answer, Call, Driver, Gate, Rig, Script, ms, secs};

each_driver! {
    rig_remembers_what_the_sink_was_told,
    rig_remembers_what_failed,
    rig_lets_time_pass,
    rig_outlives_its_buffer,
}

each_concurrent_driver! {
    gate_holds_callbacks_until_it_is_opened,
}

fn rig_remembers_what_the_sink_was_told(driver: Driver) {
    let rig = Rig::<u8, Vec<u8>>::start(driver, |builder| builder.max_keys(1).overflow(Overflow::Shed));
    rig.insert(1, 10);
    rig.insert(2, 20);
    rig.advance(secs(5));
    rig.eventually("the flush", || rig.sink.flushed() == [(1, vec![10])]);
    let Call { id, attempt, reason, settled_below, entries, at, acknowledged } = rig.sink.calls().remove(0);
    assert_eq!((id.sequence, attempt, settled_below), (1, 1, 1));
    assert_eq!((reason, entries, at), (FlushReason::Deadline, vec![(1, vec![10])], secs(5)));
    assert_eq!(acknowledged, Some(true));
    assert_eq!(rig.sink.shed(), [(2, vec![20])]);
    assert_eq!((rig.sink.busiest(), rig.sink.overlaps()), (1, 0));
}

fn rig_remembers_what_failed(driver: Driver) {
    let answer = |_: &Script<u8, Vec<u8>>, _: &write_behind::FlushBatch<u8, Vec<u8>>| -> Answer {
        Err(FlushError::not_applied("no".to_owned()).give_up())
    };
    let sink = Script::batches(answer).on_error(|sink, _| {
        assert!(!sink.buffer().is_closed());
        Verdict::Forget
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert(1, 10);
    rig.buffer.flush(&1);
    rig.eventually("it is given up", || rig.buffer.stats().gave_up == 1);
    assert_eq!(rig.sink.given_up(), [(1, vec![10], 1, "no".to_owned())]);
    assert_eq!((rig.sink.flushed(), rig.buffer.stats().panics), (vec![], 0));
}

fn rig_lets_time_pass(driver: Driver) {
    let sink = Script::keys(|sink: &Script<u8, Vec<u8>>, _, _| match sink.clock().now() < secs(7) {
        true => Err("too early".into()),
        false => Ok(()),
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert(1, 10);
    rig.pass_time_until("the first attempt", || !rig.sink.calls().is_empty());
    rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(600))).expect("it is flushed");
    assert!(rig.clock.now() >= secs(7));
}

fn gate_holds_callbacks_until_it_is_opened(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::batches(|_, _| Err(FlushError::not_applied("no".to_owned()).give_up()));
    let sink = sink.behind_for(&gate, |key| *key == 1).errors_behind(&gate);
    let rig = Rig::<u8, Vec<u8>>::with(driver, sink, |builder| builder.max_batch_keys(1));
    rig.insert(1, 10);
    rig.insert(2, 20);
    rig.advance(ms(5_000));
    gate.await_arrivals(2);
    assert_eq!((rig.buffer.stats().gave_up, rig.sink.given_up()), (0, vec![]));
    gate.open();
    rig.eventually("both are given up", || rig.buffer.stats().gave_up == 2);
}

fn rig_outlives_its_buffer(driver: Driver) {
    let rig = Rig::<u8, Vec<u8>>::start(driver, |builder| builder.drop_timeout(secs(5)));
    rig.insert(1, 10);
    let Rig { buffer, sink, .. } = rig;
    drop(buffer);
    driver.eventually("the flush", || sink.flushed().len() == 1);
}
