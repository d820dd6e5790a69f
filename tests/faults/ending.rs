//! Ends that lost what was still there.

use std::thread;

use write_behind::{InsertErrorKind, Overflow};

use crate::support::{Driver, Gate, Rig, Script, secs};

each_driver! {
    a_final_partial_batch_does_not_hang_shutdown,
    everything_is_dumped_at_the_end,
    a_sink_that_inserts_when_full_does_not_deadlock,
    a_shed_handler_runs_under_no_lock,
    an_insert_after_the_end_is_an_error,
    items_added_while_workers_leave_are_not_lost,
}

each_concurrent_driver! {
    a_flush_that_runs_when_shutdown_begins_completes,
    blocked_producers_do_not_resume_after_the_last_pass,
}

type Lists = Rig<u32, Vec<u32>>;

fn a_final_partial_batch_does_not_hang_shutdown(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_batch_keys(4).flush_at_count(100));
    (0..9).for_each(|key| rig.insert(key, 1));
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    let sizes: Vec<_> = rig.sink.calls().iter().map(|call| call.entries.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 9);
}

/// stat_buffer: pending, in flight and waiting for a retry.
fn everything_is_dumped_at_the_end(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Vec<u32>>, _| match sink.calls().len() {
        1 => Err("not yet".to_owned().into()),
        _ => Ok(()),
    });
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("it waits for its retry", || rig.buffer.stats().retries == 1);
    rig.insert(1, 2);
    rig.insert(2, 3);
    rig.buffer.shutdown(secs(60)).expect("all is delivered");
    let mut items: Vec<u32> = rig.sink.flushed().into_iter().flat_map(|(_, items)| items).collect();
    items.sort_unstable();
    assert_eq!(items, [1, 2, 3]);
}

/// Java buffer-trigger: a consumer that puts something back into its full buffer waited for itself.
fn a_sink_that_inserts_when_full_does_not_deadlock(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Vec<u32>>, _| {
        let error = sink.buffer().insert(2, 1).expect_err("it is full and cannot wait");
        assert_eq!(error.kind, InsertErrorKind::Full);
        Ok(())
    });
    let overflow = Overflow::FlushOldest { timeout: secs(3_600) };
    let rig = Lists::with(driver, sink, |builder| builder.max_keys(1).overflow(overflow));
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    rig.eventually("the flush is over", || rig.buffer.stats().flushed == 1);
    assert_eq!(rig.buffer.stats().panics, 0);
}

/// Java buffer-trigger ran the reject handler under the global lock.
fn a_shed_handler_runs_under_no_lock(driver: Driver) {
    use write_behind::{AsyncDataBuffer, DataBuffer, WeakBuffer};

    struct Asking(WeakBuffer<u32, Vec<u32>>);
    impl DataBuffer<u32, Vec<u32>> for Asking {
        fn handle_flush(
            &self,
            _: &u32,
            _: &Vec<u32>,
            _: &write_behind::FlushContext,
        ) -> Result<(), write_behind::FlushError> {
            Ok(())
        }

        fn handle_shed(&self, _: u32, _: Vec<u32>) {
            let buffer = self.0.upgrade().expect("a handle is left");
            assert_eq!(buffer.remove(&1), [vec![1]]);
            assert_eq!(buffer.stats().keys, 0);
        }
    }
    impl AsyncDataBuffer<u32, Vec<u32>> for Asking {
        async fn handle_flush(
            &self,
            _: &u32,
            _: &Vec<u32>,
            _: &write_behind::FlushContext,
        ) -> Result<(), write_behind::FlushError> {
            Ok(())
        }

        fn handle_shed(&self, key: u32, data: Vec<u32>) {
            DataBuffer::handle_shed(self, key, data);
        }
    }

    let builder = write_behind::Buffer::builder().max_keys(1).partitions(1).overflow(Overflow::Shed);
    let buffer = driver.start(builder, &driver.clock(), Asking).expect("the settings are good");
    buffer.insert(1, 1).expect("there is room");
    buffer.insert(2, 2).expect("it is shed");
    assert_eq!((buffer.stats().panics, buffer.stats().removed), (0, 1));
}

fn an_insert_after_the_end_is_an_error(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    rig.buffer.shutdown(secs(1)).expect("there is nothing");
    let error = rig.buffer.insert(1, 2).expect_err("it is closed");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::Closed, (1, 2)));
}

/// batch-aint-one: the item came when the worker had decided to leave and had not yet left.
fn items_added_while_workers_leave_are_not_lost(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.flush_at_count(1).hibernate_after(secs(0)));
    for item in 1..=300 {
        rig.insert(item, item);
        rig.eventually("it is flushed", || rig.buffer.stats().flushed == u64::from(item));
    }
}

/// `DataBuffer` 0.7, batch-aint-one: flushes that ran at the end were killed.
fn a_flush_that_runs_when_shutdown_begins_completes(driver: Driver) {
    let gate = Gate::default();
    let sink = Script::accepting().behind(&gate);
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    rig.buffer.flush(&1);
    gate.await_arrivals(1);
    thread::scope(|scope| {
        let closing = scope.spawn(|| rig.buffer.shutdown(secs(60)));
        rig.eventually("the gate is closed", || rig.buffer.is_closed());
        gate.open();
        closing.join().unwrap().expect("it is acknowledged");
    });
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().late), (1, 0));
}

/// Java buffer-trigger: producers that were blocked resumed after close had made its last pass.
fn blocked_producers_do_not_resume_after_the_last_pass(driver: Driver) {
    let overflow = Overflow::Block { timeout: secs(3_600) };
    for _ in 0..20 {
        let rig = Lists::start(driver, |builder| builder.max_keys(2).overflow(overflow));
        let accepted: usize = thread::scope(|scope| {
            let producers: Vec<_> = (0..4)
                .map(|thread| {
                    let buffer = &rig.buffer;
                    scope.spawn(move || {
                        (0..50).filter(|item| buffer.insert(50 * thread + item, 1).is_ok()).count()
                    })
                })
                .collect();
            rig.eventually("it is full", || rig.buffer.stats().keys == 2);
            rig.buffer.shutdown(secs(60)).expect("all is delivered");
            producers.into_iter().map(|producer| producer.join().unwrap()).sum()
        });
        assert_eq!(rig.sink.flushed().len(), accepted);
        assert_eq!(rig.buffer.stats().balance(), 0);
    }
}
