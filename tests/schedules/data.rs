//! Dangers to data: takes, retries, halves and reads that race with inserts.

use std::sync::Arc;

use shuttle::thread;
use write_behind::ManualClock;

use crate::stage::{Ending, FOREVER, Fate, LONG, Lists, Log, Sink, explore, finish, returned, settings};

#[test]
fn an_insert_that_races_a_take_lands_in_exactly_one_generation() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let taker = thread::spawn({
            let clock = clock.clone();
            move || clock.advance(LONG)
        });
        buffer.insert(1, 2).unwrap();
        buffer.flush(&1);
        buffer.insert(1, 3).unwrap();
        taker.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(log.applied(1), [1, 2, 3]);
        finish(buffer, &log);
    });
}

#[test]
fn waiting_for_a_flush_covers_its_retries() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::LostAnswer, Ending::Unknown]).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).unwrap();
                buffer.flush_and_wait(&1, FOREVER).unwrap();
            }
        });
        buffer.flush_and_wait(&1, FOREVER).unwrap();
        assert_eq!(log.applied(1).first(), Some(&1));
        other.join().unwrap();
        assert_eq!(log.applied(1), [1, 2]);
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

/// Lets `act` race a batch of the keys 1 to 3 (0 to 2 inserts each) that ends as scripted, and
/// returns when all has been flushed.
fn race_a_batch(script: &'static [Ending], act: impl Fn(&Lists, &Log) + Send + Sync + Copy + 'static) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, script).start(settings(&clock));
        for key in 1..=3 {
            buffer.insert(key, 1).unwrap();
        }
        let other = thread::spawn({
            let (buffer, log) = (buffer.clone(), Arc::clone(&log));
            move || act(&buffer, &log)
        });
        buffer.flush_all_and_wait(FOREVER).unwrap();
        for key in 1..=3 {
            assert_eq!(log.applied(key).first(), Some(&1), "all that was there has been waited for");
        }
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        for key in 1..=3 {
            assert!([&[1][..], &[1, 2]].contains(&&log.applied(key)[..]), "{:?}", log.applied(key));
        }
        finish(buffer, &log);
    });
}

#[test]
fn waiting_for_everything_covers_what_is_taken_and_what_is_inserted_meanwhile() {
    race_a_batch(&[], |buffer, _| {
        buffer.flush(&1);
        buffer.insert(1, 2).unwrap();
        buffer.insert(3, 2).unwrap();
    });
}

#[test]
fn waiting_for_everything_counts_a_generation_that_is_met_twice_once() {
    race_a_batch(&[Ending::Unknown, Ending::Unknown], |buffer, log| {
        buffer.flush(&1);
        while buffer.count(&1).in_flight == 0 && log.applied(1).is_empty() {
            thread::yield_now();
        }
        buffer.insert(1, 2).unwrap();
    });
}

#[test]
fn keys_that_fail_alone_wait_for_the_scheduler_and_the_scheduler_for_them() {
    race_a_batch(&[Ending::FirstKey, Ending::FirstKey], |buffer, _| {
        buffer.insert(1, 2).unwrap();
        buffer.flush(&1);
        buffer.insert(2, 2).unwrap();
        buffer.flush(&2);
    });
}

/// What is looked at is all there, once, until the sink has it.
fn look(buffer: &Lists, log: &Log) {
    for key in 1..=3 {
        let before = log.applied(key);
        let seen: Vec<u64> = buffer.peek(&key).iter().flatten().copied().collect();
        assert!(seen == [1] || (seen.is_empty() && !log.applied(key).is_empty()), "{before:?} {seen:?}");
    }
}

#[test]
fn a_look_at_a_batch_that_completes_sees_all_or_nothing() {
    race_a_batch(&[], look);
}

#[test]
fn a_look_at_a_batch_that_is_halved_misses_nothing() {
    race_a_batch(&[Ending::NotApplied, Ending::NotApplied], look);
}

#[test]
fn a_batch_that_may_have_been_applied_is_not_halved() {
    race_a_batch(&[Ending::LostAnswer, Ending::NotApplied], look);
}

#[test]
fn the_removal_of_newer_data_does_not_end_the_wait_for_older() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::scripted(&log, &[Ending::Unknown, Ending::Unknown]).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                while buffer.count(&1).pending > 0 {
                    thread::yield_now();
                }
                buffer.insert(1, 2).unwrap();
                buffer.remove(&1)
            }
        });
        buffer.flush_and_wait(&1, FOREVER).unwrap();
        assert_eq!(log.applied(1).first(), Some(&1));
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn a_removed_key_is_either_given_back_or_flushed() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        let remover = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.remove(&1).concat()
        });
        buffer.flush(&1);
        buffer.insert(1, 2).unwrap();
        let removed = remover.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        let mut all = [removed, log.applied(1)].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        finish(buffer, &log);
    });
}

#[test]
fn requeued_data_stays_before_newer_data() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Requeue, ..Sink::scripted(&log, &[Ending::Hopeless]) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).unwrap();
                buffer.flush(&1);
            }
        });
        buffer.insert(1, 3).unwrap();
        log.wait_for_attempts(1);
        other.join().unwrap();
        // Shutdown would not put it back any more.
        while buffer.count(&1).in_flight > 0 {
            thread::yield_now();
        }
        let left = returned(buffer.shutdown(FOREVER));
        let all = [log.applied(1), left.get(&1).cloned().unwrap_or_default()].concat();
        assert_eq!(all.iter().sum::<u64>(), 6, "{all:?}");
        assert_eq!(all.first(), Some(&1), "what was first stays first");
        finish(buffer, &log);
    });
}

/// It may have been applied, so it stays as it is and goes out again, and newer data waits for it.
#[test]
fn a_batch_that_is_sent_again_goes_before_newer_data() {
    explore(|| {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let script = [Ending::LostForGood, Ending::Unknown];
        let sink = Sink { fate: Fate::Requeue, ..Sink::scripted(&log, &script) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).unwrap();
                buffer.flush(&1);
            }
        });
        log.wait_for_letters(1);
        buffer.insert(1, 3).unwrap();
        other.join().unwrap();
        // Shutdown would not send it again. As long as `handle_error` has it it is not to be seen.
        while buffer.peek(&1).in_flight.is_none() {
            thread::yield_now();
        }
        // Twice, whatever the scheduler was doing when the time moved.
        clock.advance(LONG);
        thread::yield_now();
        clock.advance(LONG);
        buffer.shutdown(FOREVER).unwrap();
        let all = log.applied(1);
        assert_eq!((all.first(), all.iter().sum::<u64>(), all.len()), (Some(&1), 6, 3), "{all:?}");
        finish(buffer, &log);
    });
}

/// Newer data is flushed, or in flight, or pending, when what is kept is offered again.
fn offer_again(hopeless: Ending) {
    explore(move || {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Keep, ..Sink::scripted(&log, &[hopeless]) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        while buffer.stats().undelivered < 1 {
            thread::yield_now();
        }
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 2).unwrap();
                buffer.flush(&1);
                buffer.insert(2, 1).unwrap();
            }
        });
        let mut offered = 0;
        while offered == 0 {
            thread::yield_now();
            offered = buffer.retry_undelivered();
        }
        assert_eq!(offered, 1);
        other.join().unwrap();
        let stats = buffer.stats();
        assert_eq!(stats.undelivered, 0, "{stats:?}");
        buffer.shutdown(FOREVER).unwrap();
        let mut all = log.applied(1);
        all.sort_unstable();
        assert_eq!((all, log.applied(2)), (vec![1, 2], vec![1]));
        let stats = buffer.stats();
        assert_eq!((stats.keys, stats.weight), (0, 0), "{stats:?}");
        finish(buffer, &log);
    });
}

#[test]
fn what_is_kept_and_offered_again_comes_out_once() {
    offer_again(Ending::Hopeless);
}

#[test]
fn a_whole_batch_that_is_kept_and_offered_again_comes_out_once() {
    offer_again(Ending::LostForGood);
}

/// What was kept is offered again while somebody waits for newer data of its key, which may be put behind
/// it and then waits for its deadline.
fn wait_beside_an_offer(hopeless: Ending) {
    explore(move || {
        let (clock, log) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Keep, ..Sink::scripted(&log, &[hopeless]) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        while buffer.stats().undelivered < 1 {
            thread::yield_now();
        }
        let other = thread::spawn({
            let (buffer, clock, log) = (buffer.clone(), clock.clone(), Arc::clone(&log));
            move || {
                let offered = buffer.retry_undelivered();
                while !log.applied(1).contains(&2) {
                    clock.advance(LONG);
                    thread::yield_now();
                }
                offered
            }
        });
        buffer.insert(1, 2).unwrap();
        buffer.flush_and_wait(&1, FOREVER).unwrap();
        assert!(log.applied(1).contains(&2), "{log:?}");
        let offered = other.join().unwrap();
        let left = returned(buffer.shutdown(FOREVER));
        let stats = buffer.stats();
        assert_eq!((left.contains_key(&1), stats.flushed), (offered == 0, 1 + offered as u64), "{stats:?}");
        finish(buffer, &log);
    });
}

#[test]
fn who_waits_for_newer_data_hears_nothing_of_what_is_put_back() {
    wait_beside_an_offer(Ending::Hopeless);
}

#[test]
fn who_waits_for_newer_data_hears_nothing_of_what_is_offered_again() {
    wait_beside_an_offer(Ending::LostForGood);
}

/// Who offers what is kept may find that another has done so, and that it has been flushed since.
fn offer_side_by_side(hopeless: Ending) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let sink = Sink { fate: Fate::Keep, ..Sink::scripted(&log, &[hopeless]) };
        let buffer = sink.start(settings(&clock));
        buffer.insert(1, 1).unwrap();
        buffer.flush(&1);
        while buffer.stats().undelivered < 1 {
            thread::yield_now();
        }
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.retry_undelivered()
        });
        let mut offered = buffer.retry_undelivered() + other.join().unwrap();
        // It may not have been kept for good before.
        while offered == 0 {
            thread::yield_now();
            offered = buffer.retry_undelivered();
        }
        assert_eq!(offered, 1);
        buffer.shutdown(FOREVER).unwrap();
        let stats = buffer.stats();
        assert_eq!((log.applied(1), stats.flushed, stats.keys), (vec![1], 1, 0), "{stats:?}");
        finish(buffer, &log);
    });
}

#[test]
fn what_two_offer_side_by_side_is_put_back_once() {
    offer_side_by_side(Ending::Hopeless);
}

#[test]
fn what_two_offer_side_by_side_goes_out_once() {
    offer_side_by_side(Ending::LostForGood);
}
