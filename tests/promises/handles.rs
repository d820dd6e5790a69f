use std::sync::{Arc, Mutex};
use std::thread;

use write_behind::{AsyncDataBuffer, Buffer, DataBuffer, FlushBatch, FlushReason, Overflow, Sum, WeakBuffer};

use crate::support::{Driver, Rig, Script, secs};

each_driver! {
    a_weak_handle_keeps_nothing_alive,
    a_weak_handle_is_empty_until_the_buffer_runs,
    each_flush_tells_its_reason,
    flush_at_counts_inserts_and_not_weight,
    removal_takes_only_what_is_pending,
    flushing_what_is_not_there_is_nothing,
}

type Lists = Rig<&'static str, Vec<u32>>;

/// Every type of handle can be shared between threads.
#[test]
fn handles_are_send_and_sync() {
    fn shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
    let rig = Lists::start(Driver::Inline, |builder| builder);
    shareable(&rig.buffer);
    shareable(&rig.buffer.downgrade());
    shareable(&rig.clock);
}

fn a_weak_handle_keeps_nothing_alive(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.drop_timeout(secs(5)));
    let weak = rig.buffer.downgrade();
    weak.upgrade().expect("a handle is left").insert("key", 1).expect("there is room");
    let Rig { buffer, sink, .. } = rig;
    drop(buffer);
    assert!(weak.clone().upgrade().is_none());
    driver.eventually("the flush", || sink.flushed() == [("key", vec![1])]);
}

fn a_weak_handle_is_empty_until_the_buffer_runs(driver: Driver) {
    struct Nothing;
    impl DataBuffer<u8, Vec<u8>> for Nothing {
        fn handle_flush(
            &self,
            _: &u8,
            _: &Vec<u8>,
            _: &write_behind::FlushContext,
        ) -> Result<(), write_behind::FlushError> {
            Ok(())
        }
    }
    impl AsyncDataBuffer<u8, Vec<u8>> for Nothing {
        async fn handle_flush(
            &self,
            _: &u8,
            _: &Vec<u8>,
            _: &write_behind::FlushContext,
        ) -> Result<(), write_behind::FlushError> {
            Ok(())
        }
    }
    let kept = Mutex::new(None);
    let buffer = driver.start(Buffer::builder(), &driver.clock(), |weak: WeakBuffer<u8, Vec<u8>>| {
        assert!(weak.upgrade().is_none());
        *kept.lock().unwrap() = Some(weak);
        Nothing
    });
    let buffer = buffer.expect("the settings are good");
    let weak = kept.into_inner().unwrap().expect("the sink was made");
    assert!(weak.upgrade().is_some());
    buffer.shutdown(secs(1)).expect("there is nothing");
}

fn each_flush_tells_its_reason(driver: Driver) {
    let overflow = Overflow::FlushOldest { timeout: secs(60) };
    let rig = Lists::start(driver, |builder| builder.flush_at_count(3).max_keys(2).overflow(overflow));
    let next = |number: usize, reason: FlushReason| {
        rig.eventually("it is settled", || rig.sink.calls().len() == number && rig.buffer.stats().keys == 0);
        assert_eq!(rig.sink.calls()[number - 1].reason, reason);
    };
    rig.insert("key", 1);
    rig.advance(secs(5));
    next(1, FlushReason::Deadline);
    (0..3).for_each(|item| rig.insert("key", item));
    next(2, FlushReason::Size);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    next(3, FlushReason::Requested);
    rig.insert("key", 1);
    rig.buffer.flush_all();
    next(4, FlushReason::Requested);
    ["a", "b", "c"].into_iter().for_each(|key| rig.insert(key, 1));
    let reasons: Vec<_> = rig.sink.calls().iter().map(|call| call.reason).collect();
    assert_eq!(reasons.last(), Some(&FlushReason::Pressure));
    rig.insert("key", 1);
    rig.buffer.shutdown(secs(5)).expect("all is delivered");
    assert_eq!(rig.sink.calls().pop().expect("a call").reason, FlushReason::Shutdown);
}

fn flush_at_counts_inserts_and_not_weight(driver: Driver) {
    let rig = Rig::<&'static str, Sum<i64>>::start(driver, |builder| builder.flush_at_count(3));
    rig.insert("key", 1_000);
    rig.insert("key", 1_000);
    assert_eq!(rig.sink.calls().len(), 0);
    rig.insert("key", 1_000);
    rig.eventually("the flush", || rig.sink.flushed() == [("key", Sum(3_000))]);
}

fn removal_takes_only_what_is_pending(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Lists::with(driver, sink, |builder| builder);
    rig.insert("key", 1);
    rig.buffer.flush("key");
    rig.eventually("it is in flight", || rig.buffer.stats().retries == 1);
    assert_eq!(rig.buffer.remove("key"), Vec::<Vec<u32>>::new());
    rig.insert("key", 2);
    assert_eq!(rig.buffer.remove("key"), [vec![2]]);
    assert_eq!((rig.buffer.count("key").total(), rig.buffer.stats().removed), (1, 1));
}

fn flushing_what_is_not_there_is_nothing(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    rig.buffer.flush("key");
    rig.buffer.flush_all();
    rig.buffer.flush_and_wait("key", secs(60)).expect("there is nothing to wait for");
    rig.buffer.flush_all_and_wait(secs(60)).expect("there is nothing to wait for");
    assert_eq!(rig.sink.calls().len(), 0);
    assert_eq!(rig.buffer.remove("key"), Vec::<Vec<u32>>::new());
    assert!(rig.buffer.peek("key").is_empty() && rig.buffer.keys().is_empty());
}

/// `settled_below` only grows, and no batch below it comes again.
#[test]
fn settled_below_is_monotone_and_true() {
    let told = Arc::new(Mutex::new((0, Vec::new())));
    let noted = Arc::clone(&told);
    let sink = Script::batches(move |_, batch: &FlushBatch<u32, Vec<u32>>| {
        let (highest, seen) = &mut *noted.lock().unwrap();
        assert!(batch.settled_below() >= *highest, "it went back");
        assert!(batch.id().sequence >= *highest, "a settled batch came again");
        *highest = batch.settled_below();
        seen.push(batch.id());
        match (batch.id().sequence + u64::from(batch.attempt())) % 3 {
            0 => Err(write_behind::FlushError::not_applied("down".to_owned())),
            _ => Ok(()),
        }
    });
    let rig = Rig::with(Driver::Inline, sink, |builder| builder.flush_at_count(2).max_batch_keys(4));
    for item in 0..500 {
        rig.insert(item % 13, item);
        rig.clock.advance(std::time::Duration::from_millis(u64::from(item % 7) * 50));
    }
    rig.advance(secs(60));
    let (highest, seen) = &*told.lock().unwrap();
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().panics), (500, 0));
    assert!(*highest > 100 && seen.iter().all(|id| id.instance == seen[0].instance));
}

#[test]
fn batch_ids_of_two_buffers_differ_and_can_be_printed() {
    let ids = [(), ()].map(|()| {
        let rig = Lists::start(Driver::Inline, |builder| builder);
        rig.insert("key", 1);
        rig.buffer.flush_all_and_wait(secs(60)).expect("it is flushed");
        rig.sink.calls()[0].id
    });
    assert_ne!(ids[0].instance, ids[1].instance);
    assert_eq!(ids[0].to_string(), format!("{:016x}-{}", ids[0].instance, ids[0].sequence));
}

struct Names(Arc<Mutex<Vec<String>>>);

impl DataBuffer<String, Vec<u8>> for Names {
    fn handle_flush(
        &self,
        _: &String,
        _: &Vec<u8>,
        _: &write_behind::FlushContext,
    ) -> Result<(), write_behind::FlushError> {
        self.0.lock().unwrap().push(thread::current().name().unwrap_or("nameless").to_owned());
        Ok(())
    }
}

/// With a hasher and a name of the user's own.
#[test]
fn the_hasher_is_used_and_threads_bear_the_crates_name() {
    let names = Arc::default();
    let builder = Buffer::builder().hasher(std::hash::RandomState::new()).name("views");
    let buffer = builder.start(Names(Arc::clone(&names))).expect("the settings are good");
    for key in 0..100 {
        buffer.insert(key.to_string(), 1).expect("there is room");
    }
    assert!((0..100).all(|key: u8| buffer.contains(key.to_string().as_str())));
    buffer.shutdown(secs(60)).expect("all is delivered");
    let names = names.lock().unwrap();
    assert_eq!(names.len(), 100);
    assert!(names.iter().all(|name| name == "write-behind"), "{names:?}");
    assert!(format!("{buffer:?}").contains("views"));
}
