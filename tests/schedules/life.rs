//! Dangers of ending: shutdown, drop, and callbacks that reach back into their own buffer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shuttle::thread;
use write_behind::{
    FlushEvent, FlushWaitError, InsertErrorKind, ManualClock, Observer, RetryPolicy, ShutdownError,
    Undelivered,
};

use crate::stage::{
    Ending, FOREVER, Fate, LONG, Lists, Log, Sink, WeakLists, explore, finish, returned, settings,
    undelivered,
};

#[test]
fn no_insert_is_both_accepted_and_missed_by_shutdown() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        let inserters = [1, 2].map(|key| {
            let buffer = buffer.clone();
            thread::spawn(move || {
                (1..=2).take_while(|&item| accepted_or_closed(&buffer, key, item)).collect::<Vec<_>>()
            })
        });
        buffer.shutdown(FOREVER).unwrap();
        for (key, inserter) in [1, 2].into_iter().zip(inserters) {
            assert_eq!(log.applied(key), inserter.join().unwrap());
        }
        assert!(buffer.is_closed());
        finish(buffer, &log);
    });
}

fn accepted_or_closed(buffer: &Lists, key: u8, item: u64) -> bool {
    let result = buffer.insert(key, item);
    result.map_err(|refused| assert_eq!(refused.kind, InsertErrorKind::Closed)).is_ok()
}

/// Inserts, and shuts down at once with a batch under way that ends as scripted: every item comes
/// out somewhere, and in two places only if it says that it may have been applied.
fn cut_short(script: &'static [Ending], then: Ending, fate: Fate) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let sink = Sink { then, fate, ..Sink::scripted(&log, script) };
        let buffer = sink.start(settings(&clock));
        (1..=2).for_each(|key| buffer.insert(key, 1).unwrap());
        buffer.flush_all();
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).map_err(|_| ()).map_or(0, |()| 1) + u64::from(buffer.insert(2, 2).is_ok())
            }
        });
        let mut left = undelivered(buffer.shutdown(Duration::ZERO));
        let accepted = 2 + other.join().unwrap();
        // What `handle_error` still had and then kept is handed back later.
        while buffer.stats().in_flight > 0 {
            thread::yield_now();
            left.extend(undelivered(buffer.shutdown(Duration::ZERO)));
        }
        let stats = buffer.stats();
        assert_eq!((stats.accepted, stats.balance(), stats.panics), (accepted, 0, 0), "{stats:?}");
        drop(buffer);
        log.wait_for_the_end();
        assert_eq!(log.retired(), [stats.returned], "the sink hears what was left");
        account_for(&log, &left, accepted);
    });
}

fn account_for(log: &Log, left: &[Undelivered<u8, Vec<u64>>], accepted: u64) {
    let mut out: Vec<(u8, u64)> = Vec::new();
    for key in 1..=2 {
        out.extend([log.applied(key), log.given_up(key)].concat().into_iter().map(|item| (key, item)));
    }
    for left in left {
        let twice = left.data().iter().any(|&item| out.contains(&(*left.key(), item)));
        let applied = left.may_be_applied() && left.batch().is_some_and(|id| log.has(id, *left.key()));
        assert_eq!(twice, applied, "{left:?} {log:?}");
        if !twice {
            out.extend(left.data().iter().map(|&item| (*left.key(), item)));
        }
    }
    let all: BTreeSet<_> = out.iter().collect();
    assert_eq!((all.len(), out.len()), (accepted as usize, accepted as usize), "{log:?} {left:?}");
}

#[test]
fn a_deadline_in_the_middle_of_a_success_loses_nothing() {
    cut_short(&[], Ending::Ok, Fate::Forget);
}

#[test]
fn a_deadline_in_the_middle_of_a_retry_loses_nothing() {
    cut_short(&[], Ending::Unknown, Fate::Forget);
    cut_short(&[Ending::LostAnswer], Ending::Unknown, Fate::Forget);
}

#[test]
fn a_deadline_in_the_middle_of_a_split_loses_nothing() {
    cut_short(&[Ending::NotApplied, Ending::FirstKey], Ending::NotApplied, Fate::Forget);
    cut_short(&[Ending::FirstKey], Ending::FirstKey, Fate::Forget);
}

#[test]
fn a_deadline_in_the_middle_of_giving_up_loses_nothing() {
    cut_short(&[], Ending::Hopeless, Fate::Forget);
}

#[test]
fn a_deadline_in_the_middle_of_giving_up_what_may_be_applied_loses_nothing() {
    cut_short(&[Ending::Unknown], Ending::LostForGood, Fate::Forget);
}

#[test]
fn a_deadline_in_the_middle_of_keeping_loses_nothing() {
    cut_short(&[], Ending::Hopeless, Fate::Keep);
    cut_short(&[], Ending::LostForGood, Fate::Keep);
}

#[test]
fn a_deadline_in_the_middle_of_putting_back_loses_nothing() {
    cut_short(&[], Ending::Hopeless, Fate::Requeue);
}

#[test]
fn a_deadline_in_the_middle_of_sending_a_batch_again_loses_nothing() {
    cut_short(&[], Ending::LostForGood, Fate::Requeue);
}

/// What is kept is offered again while the buffer comes to its end.
fn cut_short_while_offered(hopeless: Ending) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Keep, ..Sink::scripted(&log, &[hopeless]) };
        let buffer = sink.start(settings(&clock));
        (1..=2).for_each(|key| buffer.insert(key, 1).unwrap());
        buffer.flush_all();
        // Of one key or of both.
        while buffer.stats().undelivered < 1 {
            thread::yield_now();
        }
        buffer.insert(1, 2).unwrap();
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.retry_undelivered()
        });
        let mut left = undelivered(buffer.shutdown(Duration::ZERO));
        other.join().unwrap();
        while buffer.stats().in_flight > 0 {
            thread::yield_now();
            left.extend(undelivered(buffer.shutdown(Duration::ZERO)));
        }
        let stats = buffer.stats();
        assert_eq!((stats.accepted, stats.balance(), stats.panics), (3, 0, 0), "{stats:?}");
        drop(buffer);
        log.wait_for_the_end();
        assert_eq!(log.retired(), [stats.returned], "the sink hears what was left");
        account_for(&log, &left, 3);
    });
}

#[test]
fn a_deadline_in_the_middle_of_an_offer_loses_nothing() {
    cut_short_while_offered(Ending::Hopeless);
}

#[test]
fn a_deadline_in_the_middle_of_an_offer_of_a_whole_batch_loses_nothing() {
    cut_short_while_offered(Ending::LostForGood);
}

#[test]
fn the_sink_is_gone_when_shutdown_returns() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::Unknown]).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let stop = |buffer: &Lists, log: &Log| {
            buffer.shutdown(FOREVER).unwrap();
            assert_eq!((log.applied(1), log.retired(), log.sink_is_gone()), (vec![1], vec![0], true));
        };
        let other = thread::spawn({
            let (buffer, log) = (buffer.clone(), Arc::clone(&log));
            move || stop(&buffer, &log)
        });
        stop(&buffer, &log);
        other.join().unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn what_is_requeued_during_shutdown_is_returned() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Requeue, ..Sink::scripted(&log, &[Ending::Hopeless]) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let left = returned(buffer.shutdown(FOREVER));
        let all = [log.applied(1), left.get(&1).cloned().unwrap_or_default()].concat();
        assert_eq!(all, [1]);
        finish(buffer, &log);
    });
}

#[test]
fn who_waits_for_a_flush_hears_that_the_buffer_was_closed_first() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let day = Duration::from_secs(86_400);
        let retry = RetryPolicy::new().delay(day).cap(day);
        let sink = Sink { then: Ending::Unknown, ..Sink::new(&log) };
        let buffer = sink.start(settings(&clock).retry(retry));
        buffer.insert(1, 1).unwrap();
        let waiter = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.flush_and_wait(&1, FOREVER)
        });
        let left = returned(buffer.shutdown(Duration::ZERO));
        assert_eq!(left.get(&1), Some(&vec![1]));
        let heard = waiter.join().unwrap();
        // Whoever asks after the end finds nothing left to wait for.
        assert!(matches!(heard, Ok(()) | Err(FlushWaitError::Closed)), "{heard:?}");
        finish(buffer, &log);
    });
}

#[test]
fn shutdown_does_not_wait_for_a_backoff_that_begins_meanwhile() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let day = Duration::from_secs(86_400);
        let builder = settings(&clock).retry(RetryPolicy::new().delay(day).cap(day));
        let buffer = Sink::scripted(&log, &[Ending::Unknown]).start(builder);
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let over = Arc::new(AtomicBool::new(false));
        let time = thread::spawn({
            let (clock, over) = (clock.clone(), Arc::clone(&over));
            move || {
                while !over.load(Ordering::SeqCst) && clock.now() < day / 2 {
                    clock.advance(Duration::from_millis(50));
                    thread::yield_now();
                }
            }
        });
        let result = buffer.shutdown(day / 4);
        over.store(true, Ordering::SeqCst);
        time.join().unwrap();
        result.unwrap();
        assert_eq!(log.applied(1), [1]);
        finish(buffer, &log);
    });
}

#[test]
fn of_two_shutdowns_one_gets_what_is_left_and_both_hear_of_it() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.insert(2, 1).unwrap();
        let stop = |buffer: &Lists| match buffer.shutdown(Duration::ZERO) {
            Ok(_) => (0, 0),
            Err(ShutdownError::Undelivered(left)) => (left.len(), left.inserts()),
            Err(ShutdownError::AlreadyReturned { inserts }) => (0, inserts),
            Err(_) => unreachable!("not in a callback"),
        };
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || stop(&buffer)
        });
        let (mine, all) = stop(&buffer);
        let (theirs, all_theirs) = other.join().unwrap();
        assert_eq!(all, all_theirs, "both get the same answer");
        assert_eq!((mine + theirs) as u64, all, "each key is given to one of them");
        assert!(mine == 0 || theirs == 0);
        finish(buffer, &log);
    });
}

#[test]
fn the_drop_of_the_last_handle_flushes_and_ends_all_threads() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).drop_timeout(LONG));
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.insert(1, 1).unwrap()
        });
        buffer.insert(2, 1).unwrap();
        drop(buffer);
        other.join().unwrap();
        log.wait_for_the_end();
        assert_eq!([1, 2].map(|key| log.applied(key).len()), [1; 2]);
    });
}

#[test]
fn a_callback_that_drops_the_last_handle_does_not_wait_for_itself() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let hold = |buffer: &Lists| drop(buffer.clone());
        let sink = Sink { act: Some(Box::new(hold)), ..Sink::new(&log) };
        let buffer = sink.start(settings(&clock).drop_timeout(LONG));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        drop(buffer);
        log.wait_for_the_end();
        assert_eq!(log.applied(1), [1]);
    });
}

/// Calls everything that a callback may call; not for ever, since its inserts are flushed too.
fn reenter(buffer: &Lists) {
    if buffer.stats().accepted > 6 {
        return;
    }
    let _ = buffer.insert(4, 1);
    let _ = buffer.insert(1, 2);
    let _ = (buffer.peek(&1), buffer.count(&2), buffer.keys(), buffer.snapshot(), buffer.stats());
    buffer.flush(&4);
    buffer.flush_all();
    let wait = buffer.flush_and_wait(&1, FOREVER);
    assert!(matches!(wait, Err(FlushWaitError::WouldDeadlock)));
}

/// An observer that looks at everything.
#[derive(Clone, Default)]
struct Busybody(Arc<OnceLock<WeakLists>>);

impl Busybody {
    fn look(&self) {
        let buffer = self.0.get().and_then(WeakLists::upgrade);
        buffer.iter().for_each(|buffer| drop(buffer.snapshot()));
    }
}

impl Observer for Busybody {
    fn flush_started(&self, _: &FlushEvent<'_>) {
        self.look();
    }

    fn flush_retried(&self, _: &FlushEvent<'_>, _: Duration) {
        self.look();
    }
}

#[test]
fn callbacks_may_call_their_own_buffer() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let script = [Ending::NotApplied, Ending::FirstKey, Ending::Unknown];
        let sink = Sink { act: Some(Box::new(reenter)), ..Sink::scripted(&log, &script) };
        let observer = Busybody::default();
        let buffer = sink.start(settings(&clock).observer(observer.clone()));
        observer.0.set(buffer.downgrade()).expect("set once");
        (1..=3).for_each(|key| buffer.insert(key, 1).unwrap());
        buffer.flush_all_and_wait(FOREVER).unwrap();
        buffer.shutdown(FOREVER).unwrap();
        for key in 1..=3 {
            assert_eq!(log.applied(key).first(), Some(&1));
        }
        finish(buffer, &log);
    });
}

#[test]
fn a_callback_may_shut_its_own_buffer_down() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let stop = |buffer: &Lists| {
            let result = buffer.shutdown(LONG);
            assert!(matches!(result, Err(ShutdownError::WouldDeadlock)));
        };
        let sink = Sink { act: Some(Box::new(stop)), ..Sink::new(&log) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let late = buffer.insert(2, 1).is_ok();
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!((log.applied(1).len(), log.applied(2).len()), (1, usize::from(late)));
        finish(buffer, &log);
    });
}
