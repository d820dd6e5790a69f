//! Dangers at the bounds: blocked inserters, and room that is called back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use write_behind::{
    Aggregate, BatchDataBuffer, Buffer, Builder, DataBuffer, FlushContext, FlushError, InsertErrorKind,
    ManualClock, Overflow, Retirement,
};

use crate::stage::{Canary, FOREVER, Keyed, LONG, Lists, Log, Sink, explore, finish, settings};

const PATIENCE: Overflow = Overflow::Block { timeout: LONG };

#[test]
fn a_blocked_inserter_gets_in_or_hears_of_the_close() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).max_weight(1).overflow(PATIENCE));
        buffer.insert(1, 1).unwrap();
        let blocked = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.insert(1, 2)
        });
        buffer.shutdown(FOREVER).unwrap();
        match blocked.join().unwrap() {
            Ok(()) => assert_eq!(log.applied(1), [1, 2]),
            Err(refused) => {
                assert_eq!((refused.kind, refused.rejected), (InsertErrorKind::Closed, (1, 2)));
                assert_eq!(log.applied(1), [1]);
            }
        }
        finish(buffer, &log);
    });
}

#[test]
fn a_blocked_inserter_hears_of_the_close_while_the_buffer_is_still_draining() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let refused = Arc::new((Mutex::new(false), Condvar::new()));
        // The flush is not over before the inserter has been refused.
        let act = {
            let refused = Arc::clone(&refused);
            move |_: &Lists| {
                drop(refused.1.wait_while(refused.0.lock().unwrap(), |refused| !*refused).unwrap())
            }
        };
        let sink = Sink { act: Some(Box::new(act)), ..Sink::new(&log) };
        let buffer = sink.start(settings(&clock).max_weight(1).overflow(PATIENCE));
        buffer.insert(1, 1).unwrap();
        let blocked = thread::spawn({
            let buffer = buffer.clone();
            move || {
                let error = buffer.insert(1, 2).expect_err("there is no room");
                assert_eq!(error.kind, InsertErrorKind::Closed);
                *refused.0.lock().unwrap() = true;
                refused.1.notify_all();
            }
        });
        buffer.shutdown(FOREVER).unwrap();
        blocked.join().unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn blocked_inserters_wake_when_room_appears() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).max_keys(1).overflow(PATIENCE));
        buffer.insert(1, 1).unwrap();
        let threads = [2, 3].map(|key| {
            let buffer = buffer.clone();
            thread::spawn(move || {
                buffer.insert(key, 1).unwrap();
                assert!(buffer.stats().keys <= 1);
                buffer.flush(&key);
            })
        });
        buffer.flush(&1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!([1, 2, 3].map(|key| log.applied(key).len()), [1; 3]);
        finish(buffer, &log);
    });
}

#[test]
fn an_inserter_that_makes_its_own_room_gets_it() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let policy = Overflow::FlushOldest { timeout: LONG };
        let buffer = Sink::new(&log).start(settings(&clock).max_weight(1).overflow(policy));
        let threads = [2, 3].map(|key| {
            let buffer = buffer.clone();
            thread::spawn(move || buffer.insert(key, 1).unwrap())
        });
        buffer.insert(1, 1).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!([1, 2, 3].map(|key| log.applied(key).len()), [1; 3]);
        finish(buffer, &log);
    });
}

#[test]
fn a_blocked_inserter_gives_up_when_its_time_is_over() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let patience = Overflow::Block { timeout: Duration::from_secs(1) };
        let buffer = Sink::new(&log).start(settings(&clock).max_weight(1).overflow(patience));
        buffer.insert(1, 1).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let blocked = thread::spawn({
            let (buffer, over) = (buffer.clone(), Arc::clone(&over));
            move || {
                let result = buffer.insert(2, 1);
                over.store(true, Ordering::SeqCst);
                result
            }
        });
        // The wait may begin after any of these.
        while !over.load(Ordering::SeqCst) && clock.now() < LONG / 2 {
            clock.advance(Duration::from_secs(1));
            thread::yield_now();
        }
        let refused = blocked.join().unwrap().expect_err("there was no room");
        assert_eq!((refused.kind, refused.rejected), (InsertErrorKind::TimedOut, (2, 1)));
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

/// Weighs what its items say.
#[derive(Debug)]
struct Heap(u64);

impl Aggregate for Heap {
    type Item = u64;

    fn start(item: u64) -> Self {
        Heap(item)
    }

    fn absorb(&mut self, item: u64) {
        self.0 += item;
    }

    fn merge(&mut self, later: Self) {
        self.0 += later.0;
    }

    fn weight(&self) -> u64 {
        self.0
    }

    fn start_weight(item: &u64) -> u64 {
        *item
    }

    fn growth(&self, item: &u64) -> u64 {
        *item
    }
}

struct Scales(Sink);

impl DataBuffer<u8, Heap> for Scales {
    fn handle_flush(&self, _: &u8, _: &Heap, _: &FlushContext) -> Result<(), FlushError> {
        Ok(())
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.0.handle_retired(retirement);
    }
}

fn heaps(clock: &ManualClock, log: &Arc<Log>, max_weight: u64) -> Builder<u8, Heap, Keyed> {
    let builder = Buffer::builder().hasher(Keyed::default()).clock(clock).observer(Canary::new(log));
    builder.partitions(4).max_weight(max_weight).interval(LONG)
}

/// `before` is in, then all of `items` are inserted at once, each in its own partition.
fn crowd(
    max_weight: u64,
    before: u64,
    items: [u64; 3],
    check: impl Fn(usize) + Send + Sync + Copy + 'static,
) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = heaps(&clock, &log, max_weight).start(Scales(Sink::new(&log))).expect("valid settings");
        buffer.insert(0, before).unwrap();
        let threads = [0, 1, 2].map(|index| {
            let buffer = buffer.clone();
            thread::spawn(move || buffer.insert(index as u8 + 1, items[index]).is_ok())
        });
        let accepted = threads.into_iter().map(|thread| thread.join().unwrap());
        let accepted = accepted.filter(|&accepted| accepted).count();
        assert!(buffer.stats().weight <= max_weight);
        check(accepted);
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(buffer.stats().balance(), 0);
        drop(buffer);
        log.wait_for_the_end();
    });
}

#[test]
fn what_fits_is_never_refused() {
    crowd(128, 120, [3, 3, 2], |accepted| assert_eq!(accepted, 3));
}

#[test]
fn the_bound_is_exact() {
    crowd(128, 120, [4, 4, 4], |accepted| assert_eq!(accepted, 2));
}

#[test]
fn no_room_is_lost_when_the_buffer_goes_to_rest() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let builder = heaps(&clock, &log, 128).flush_at_count(1).hibernate_after(Duration::ZERO);
        let buffer = builder.start(Scales(Sink::new(&log))).expect("valid settings");
        buffer.insert(0, 1).unwrap();
        buffer.flush_and_wait(&0, FOREVER).unwrap();
        while !buffer.stats().hibernating {
            thread::yield_now();
        }
        buffer.insert(1, 128).expect("the buffer is empty");
        buffer.shutdown(FOREVER).unwrap();
        drop(buffer);
        log.wait_for_the_end();
    });
}
