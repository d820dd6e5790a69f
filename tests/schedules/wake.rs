//! Lost wake-ups: of the scheduler, and of a buffer that goes to rest.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;
use write_behind::ManualClock;

use crate::stage::{FOREVER, LONG, Log, Sink, explore, finish, settings};

#[test]
fn a_full_generation_wakes_the_scheduler() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).flush_at_count(2));
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || (1..=2).for_each(|item| buffer.insert(2, item).unwrap())
        });
        (1..=2).for_each(|item| buffer.insert(1, item).unwrap());
        log.wait_for(1, 2);
        log.wait_for(2, 2);
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn a_deadline_is_kept_whatever_the_scheduler_was_doing_when_it_was_set() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock));
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.insert(2, 1).unwrap()
        });
        buffer.insert(1, 1).unwrap();
        clock.advance(Duration::from_secs(1));
        other.join().unwrap();
        // The scheduler sleeps until the earlier of the two, and then until the other.
        clock.advance(LONG - Duration::from_secs(1));
        log.wait_for(1, 1);
        clock.advance(Duration::from_secs(1));
        log.wait_for(2, 1);
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn a_buffer_at_rest_wakes_for_the_next_insert() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer =
            Sink::new(&log).start(settings(&clock).hibernate_after(Duration::ZERO).flush_at_count(1));
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.insert(2, 1).unwrap()
        });
        buffer.insert(1, 1).unwrap();
        log.wait_for(1, 1);
        buffer.insert(1, 2).unwrap();
        log.wait_for(1, 2);
        log.wait_for(2, 1);
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

#[test]
fn a_buffer_at_rest_keeps_the_next_deadline() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).hibernate_after(Duration::ZERO));
        buffer.insert(1, 1).unwrap();
        clock.advance(LONG);
        log.wait_for(1, 1);
        // Meanwhile the scheduler settles, and goes to rest or not.
        buffer.insert(1, 2).unwrap();
        clock.advance(LONG);
        log.wait_for(1, 2);
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}
