//! Values and aggregates of the user's whose own code does something unexpected.

use std::panic::{AssertUnwindSafe, catch_unwind};

use write_behind::{Aggregate, FlushError, FlushWaitError, Verdict, WeakBuffer};

use crate::support::{Driver, Rig, Script, secs};

each_driver! {
    values_are_dropped_outside_all_locks,
    a_value_that_panics_when_dropped_holds_nothing_up,
    a_merge_that_panics_keeps_the_waiters_and_the_books,
    an_aggregate_that_panics_is_not_counted,
    an_aggregate_that_panics_when_asked_whether_it_is_ready_loses_nothing,
}

/// Looks into the buffer when it is dropped, and may panic then. Copies are at ease.
struct Restless {
    buffer: WeakBuffer<u32, Restless>,
    panics: bool,
    original: bool,
}

impl Restless {
    fn new(rig: &Rig<u32, Restless>, panics: bool) -> Restless {
        Restless { buffer: rig.buffer.downgrade(), panics, original: true }
    }
}

impl Clone for Restless {
    fn clone(&self) -> Self {
        Restless { buffer: self.buffer.clone(), panics: false, original: false }
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.upgrade().filter(|_| self.original) {
            (0..4).for_each(|key| drop(buffer.peek(&key)));
        }
        assert!(!self.panics, "a destructor panics");
    }
}

impl Aggregate for Restless {
    type Item = Restless;

    fn start(item: Restless) -> Self {
        item
    }

    fn absorb(&mut self, _: Restless) {}

    fn merge(&mut self, _: Self) {}
}

fn values_are_dropped_outside_all_locks(driver: Driver) {
    let sink = Script::keys(|_, key, _| match key {
        3 => Err("down".into()),
        _ => Ok(()),
    });
    let rig = Rig::<u32, Restless>::with(driver, sink, |builder| builder);
    // Looking for the third key's data, which is in flight, takes every lock there is.
    for key in [3, 0, 1, 2] {
        rig.insert(key, Restless::new(&rig, false));
        rig.buffer.flush(&key);
        rig.eventually("it is flushed, or tried", || rig.buffer.stats().pending == 0);
    }
    (0..4).for_each(|key| rig.insert(key, Restless::new(&rig, false)));
    rig.pass_time_until("all is settled", || rig.buffer.stats().keys == 0);
    assert_eq!((rig.buffer.stats().flushed, rig.buffer.stats().gave_up), (6, 2));
}

fn a_value_that_panics_when_dropped_holds_nothing_up(driver: Driver) {
    let rig = Rig::<u32, Restless>::start(driver, |builder| builder.flush_concurrency(1).max_batch_keys(1));
    for key in 0..10 {
        rig.insert(key, Restless::new(&rig, key % 2 == 0));
    }
    rig.buffer.flush_all();
    rig.eventually("all are flushed", || rig.buffer.stats().flushed == 10);
    rig.eventually("every panic is counted", || rig.buffer.stats().panics == 5);
    rig.pass_time_until("it rests", || rig.buffer.stats().hibernating);
}

/// Cannot be merged, and only finds out when it tries.
#[derive(Clone, Debug, PartialEq)]
struct Brittle(Vec<u32>);

impl Aggregate for Brittle {
    type Item = u32;

    fn start(item: u32) -> Self {
        assert!(item != 13, "not this one");
        Brittle(vec![item])
    }

    fn absorb(&mut self, item: u32) {
        assert!(item != 13, "not this one");
        self.0.push(item);
    }

    fn merge(&mut self, _: Self) {
        panic!("it breaks");
    }
}

fn a_merge_that_panics_keeps_the_waiters_and_the_books(driver: Driver) {
    let sink = Script::batches(|sink: &Script<u32, Brittle>, _| match sink.calls().len() {
        1 => Err(FlushError::not_applied("not now".to_owned()).give_up()),
        _ => Ok(()),
    });
    let sink = sink.on_error(|sink, letter| {
        sink.buffer().insert(1, 2).expect("there is room");
        Verdict::Requeue(letter)
    });
    let rig = Rig::with(driver, sink, |builder| builder);
    rig.insert(1, 1);
    let waited = rig.while_time_passes(|buffer| buffer.flush_and_wait(&1, secs(600)));
    assert!(matches!(waited, Err(FlushWaitError::Failed(_))), "{waited:?}");
    rig.pass_time_until("what is left is flushed", || rig.buffer.stats().flushed == 2);
    assert_eq!((rig.buffer.stats().balance(), rig.buffer.stats().keys), (0, 0));
}

fn an_aggregate_that_panics_is_not_counted(driver: Driver) {
    let rig = Rig::<u32, Brittle>::start(driver, |builder| builder.partitions(1));
    let insert = |key, item| catch_unwind(AssertUnwindSafe(|| rig.buffer.insert(key, item).is_ok())).ok();
    assert_eq!(insert(1, 13), None);
    assert_eq!(insert(1, 1), Some(true));
    assert_eq!(insert(1, 13), None);
    assert_eq!(insert(1, 2), Some(true));
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.pending, stats.keys, stats.balance()), (2, 2, 1, 0));
    rig.buffer.flush_and_wait(&1, secs(60)).expect("it is flushed");
    assert_eq!(rig.sink.flushed(), [(1, Brittle(vec![1, 2]))]);
}

/// Panics when it is asked whether it is ready with a 13 at its end.
#[derive(Clone, Debug, PartialEq)]
struct Touchy(Vec<u32>);

impl Aggregate for Touchy {
    type Item = u32;

    fn start(item: u32) -> Self {
        Touchy(vec![item])
    }

    fn absorb(&mut self, item: u32) {
        self.0.push(item);
    }

    fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    fn accepts(&self, item: &u32) -> bool {
        *item < 100
    }

    fn is_ready(&self) -> bool {
        assert!(self.0.last() != Some(&113) && (self.0.last() != Some(&13) || self.0.len() > 3));
        false
    }
}

fn an_aggregate_that_panics_when_asked_whether_it_is_ready_loses_nothing(driver: Driver) {
    let rig = Rig::<u32, Touchy>::start(driver, |builder| builder.partitions(1));
    let insert = |key, item| catch_unwind(AssertUnwindSafe(|| rig.buffer.insert(key, item).is_ok())).ok();
    assert_eq!(insert(1, 13), None);
    assert_eq!(rig.buffer.stats().keys, 0);
    assert_eq!((insert(1, 1), insert(1, 2)), (Some(true), Some(true)));
    assert_eq!((insert(1, 113), insert(1, 13)), (None, None));
    let stats = rig.buffer.stats();
    assert_eq!((stats.accepted, stats.pending, stats.keys, stats.balance()), (2, 2, 1, 0));
    rig.buffer.flush_and_wait(&1, secs(60)).expect("it is flushed");
    // As with any panic, the aggregate stays as it was left.
    assert_eq!(rig.sink.flushed(), [(1, Touchy(vec![1, 2, 13]))]);
}
