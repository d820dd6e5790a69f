//! The async counterparts of the calls that wait: polled by tasks, against what threads do meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;
use write_behind::{FlushWaitError, InsertErrorKind, ManualClock, RetryPolicy};

use crate::stage::{Ending, FOREVER, LONG, Lists, Log, Sink, explore, finish, returned, settings};

const SOON: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Polls a call once and drops it then. Its result, if it was over already.
fn drop_half_way<T>(call: impl Future<Output = T>) -> Option<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[test]
fn who_awaits_a_flush_hears_when_it_is_settled() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::LostAnswer, Ending::Unknown]).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).unwrap();
                block_on(buffer.flush_and_wait_async(&1, FOREVER)).unwrap();
            }
        });
        block_on(buffer.flush_and_wait_async(&1, FOREVER)).unwrap();
        assert_eq!(log.applied(1).first(), Some(&1));
        other.join().unwrap();
        assert_eq!(log.applied(1), [1, 2]);
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn who_awaits_all_flushes_hears_when_the_parts_of_a_split_batch_are_settled() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::NotApplied, Ending::FirstKey]).start(settings(&clock));
        let other = thread::spawn({
            let (buffer, log) = (buffer.clone(), Arc::clone(&log));
            move || {
                buffer.insert(3, 1).unwrap();
                block_on(buffer.flush_all_and_wait_async(FOREVER)).unwrap();
                assert_eq!(log.applied(3), [1]);
            }
        });
        (1..=2).for_each(|key| buffer.insert(key, 1).unwrap());
        block_on(buffer.flush_all_and_wait_async(FOREVER)).unwrap();
        assert_eq!([1, 2].map(|key| log.applied(key)), [[1], [1]]);
        other.join().unwrap();
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn who_awaits_a_flush_hears_that_the_buffer_was_closed_first() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { then: Ending::Unknown, ..Sink::new(&log) };
        let buffer = sink.start(settings(&clock).retry(RetryPolicy::new().delay(DAY).cap(DAY)));
        buffer.insert(1, 1).unwrap();
        let waiting = thread::spawn({
            let buffer = buffer.clone();
            move || block_on(buffer.flush_and_wait_async(&1, FOREVER))
        });
        let left = returned(block_on(buffer.shutdown_async(Duration::ZERO)));
        assert_eq!(left.get(&1), Some(&vec![1]));
        let heard = waiting.join().unwrap();
        assert!(matches!(heard, Ok(()) | Err(FlushWaitError::Closed)), "{heard:?}");
        finish(buffer, &log);
    });
}

#[test]
fn an_insert_that_awaits_room_gets_in_or_hears_of_the_close() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).max_weight(1));
        buffer.insert(1, 1).unwrap();
        let waiting = thread::spawn({
            let buffer = buffer.clone();
            move || block_on(buffer.insert_async(1, 2, LONG))
        });
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        match waiting.join().unwrap() {
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
fn who_awaits_room_hears_when_it_appears() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).max_keys(1));
        buffer.insert(1, 1).unwrap();
        let inserting = thread::spawn({
            let buffer = buffer.clone();
            move || {
                block_on(buffer.insert_async(2, 1, LONG)).unwrap();
                buffer.flush(&2);
            }
        });
        buffer.flush(&1);
        while let Err(refused) = buffer.insert(3, 1) {
            assert_eq!(refused.kind, InsertErrorKind::Full);
            block_on(buffer.wait_for_room_async(LONG)).unwrap();
        }
        buffer.flush(&3);
        inserting.join().unwrap();
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        assert_eq!([1, 2, 3].map(|key| log.applied(key).len()), [1; 3]);
        finish(buffer, &log);
    });
}

#[test]
fn all_who_await_the_end_hear_of_it() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let builder = settings(&clock).retry(RetryPolicy::never().delay(DAY).cap(DAY));
        let buffer = Sink::scripted(&log, &[Ending::LostAnswer]).start(builder);
        buffer.insert(1, 1).unwrap();
        let others = [(), ()].map(|()| {
            let buffer = buffer.clone();
            thread::spawn(move || {
                block_on(buffer.shutdown_async(FOREVER)).unwrap();
            })
        });
        // The wait for the retry, which begins while it drains, is a short one.
        let time = thread::spawn({
            let (clock, log) = (clock.clone(), Arc::clone(&log));
            move || {
                log.wait_for_attempts(1);
                while log.attempts() < 2 {
                    clock.advance(SOON);
                    thread::yield_now();
                }
            }
        });
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        assert_eq!(log.applied(1), [1]);
        others.into_iter().chain([time]).for_each(|other| other.join().unwrap());
        finish(buffer, &log);
    });
}

/// Makes a call with so much patience on a full buffer whose only key cannot be flushed, and moves the
/// time on: the call hears of it, whenever that begins.
fn gives_up_in_time(call: fn(&Lists, Duration) -> bool) {
    explore(move || {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { then: Ending::Unknown, ..Sink::new(&log) };
        let retry = RetryPolicy::new().delay(DAY).cap(DAY);
        let buffer = sink.start(settings(&clock).max_weight(1).retry(retry));
        buffer.insert(1, 1).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let waiting = thread::spawn({
            let (buffer, over) = (buffer.clone(), Arc::clone(&over));
            move || {
                let gave_up = call(&buffer, SOON);
                over.store(true, Ordering::SeqCst);
                gave_up
            }
        });
        while !over.load(Ordering::SeqCst) && clock.now() < LONG / 2 {
            clock.advance(SOON);
            thread::yield_now();
        }
        assert!(waiting.join().unwrap());
        let _ = block_on(buffer.shutdown_async(Duration::ZERO));
        finish(buffer, &log);
    });
}

#[test]
fn each_async_call_gives_up_when_its_time_is_over() {
    gives_up_in_time(|buffer, soon| {
        let result = block_on(buffer.insert_async(2, 1, soon));
        result.is_err_and(|refused| refused.kind == InsertErrorKind::TimedOut && refused.rejected == (2, 1))
    });
    gives_up_in_time(|buffer, soon| {
        // It may look before the buffer knows that it is full.
        let _ = buffer.insert(2, 1);
        block_on(buffer.wait_for_room_async(soon)) == Err(InsertErrorKind::TimedOut)
    });
    gives_up_in_time(|buffer, soon| {
        let result = block_on(buffer.flush_and_wait_async(&1, soon));
        matches!(result, Err(FlushWaitError::TimedOut(timeout)) if timeout == soon)
    });
    gives_up_in_time(|buffer, soon| {
        let result = block_on(buffer.flush_all_and_wait_async(soon));
        matches!(result, Err(FlushWaitError::TimedOut(timeout)) if timeout == soon)
    });
    gives_up_in_time(|buffer, soon| {
        let left = returned(block_on(buffer.shutdown_async(soon)));
        left.get(&1) == Some(&vec![1])
    });
}

#[test]
fn an_insert_that_is_dropped_leaves_the_room_to_others() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).max_keys(1));
        buffer.insert(1, 1).unwrap();
        let dropping = thread::spawn({
            let buffer = buffer.clone();
            move || {
                let _ = drop_half_way(buffer.wait_for_room_async(LONG));
                let inserted = drop_half_way(buffer.insert_async(2, 1, LONG)).map(Result::unwrap);
                buffer.flush(&2);
                inserted.is_some()
            }
        });
        let waiting = thread::spawn({
            let buffer = buffer.clone();
            move || block_on(buffer.insert_async(3, 1, LONG)).unwrap()
        });
        buffer.flush(&1);
        let accepted = dropping.join().unwrap();
        waiting.join().unwrap();
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        assert_eq!([1, 2, 3].map(|key| log.applied(key).len()), [1, usize::from(accepted), 1]);
        finish(buffer, &log);
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_the_others_waiting() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::LostAnswer]).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let dropping = thread::spawn({
            let buffer = buffer.clone();
            move || {
                let _ = drop_half_way(buffer.flush_and_wait_async(&1, FOREVER));
                let _ = drop_half_way(buffer.flush_all_and_wait_async(FOREVER));
            }
        });
        let waiting = thread::spawn({
            let buffer = buffer.clone();
            move || block_on(buffer.flush_all_and_wait_async(FOREVER)).unwrap()
        });
        block_on(buffer.flush_and_wait_async(&1, FOREVER)).unwrap();
        assert_eq!(log.applied(1), [1]);
        [dropping, waiting].into_iter().for_each(|other| other.join().unwrap());
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn a_shutdown_that_is_dropped_goes_on_by_itself() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let late = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.insert(2, 1).is_ok()
        });
        let _ = drop_half_way(buffer.shutdown_async(FOREVER));
        assert!(buffer.is_closed());
        let late = late.join().unwrap();
        log.wait_for(1, 1);
        log.wait_for(2, usize::from(late));
        block_on(buffer.shutdown_async(FOREVER)).unwrap();
        finish(buffer, &log);
    });
}
