//! The whole buffer's trigger: lost, or pulled for what it was pulled for before.

use std::sync::Arc;

use shuttle::thread;
use write_behind::ManualClock;

use crate::stage::{Ending, FOREVER, Lists, Log, Sink, explore, finish, settings};

/// Inserts, each key's in another thread.
fn insert_side_by_side(buffer: &Lists, items: [(u8, u64); 3]) {
    let threads = items.map(|(key, inserts)| {
        let buffer = buffer.clone();
        thread::spawn(move || (1..=inserts).for_each(|item| buffer.insert(key, item).unwrap()))
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn the_last_of_enough_inserts_flushes_all() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).flush_all_at_count(4));
        insert_side_by_side(&buffer, [(1, 1), (2, 2), (3, 1)]);
        [(1, 1), (2, 2), (3, 1)].into_iter().for_each(|(key, inserts)| log.wait_for(key, inserts));
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}

/// Inserts go on while everything is made due; what is left at the end is less than the limit.
#[test]
fn inserts_that_race_the_flush_of_all_are_counted() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).flush_all_at_count(2));
        insert_side_by_side(&buffer, [(1, 2), (2, 2), (3, 1)]);
        log.wait_for_total(4);
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(log.total(), 5);
        finish(buffer, &log);
    });
}

#[test]
fn what_is_removed_or_flushed_meanwhile_takes_nothing_else_off_the_count() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let buffer = Sink::new(&log).start(settings(&clock).flush_all_at_count(2));
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || {
                buffer.insert(1, 1).unwrap();
                let removed = !buffer.remove(&1).is_empty();
                buffer.insert(5, 1).unwrap();
                buffer.flush(&5);
                usize::from(removed)
            }
        });
        buffer.insert(2, 1).unwrap();
        buffer.insert(3, 1).unwrap();
        let delivered = 4 - other.join().unwrap();
        // What is left is less than the limit.
        log.wait_for_total(delivered - 1);
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(log.total(), delivered);
        finish(buffer, &log);
    });
}

#[test]
fn a_buffer_at_rest_counts_what_wakes_it() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let hasty = settings(&clock).flush_all_at_count(2).hibernate_after(std::time::Duration::ZERO);
        let buffer = Sink::scripted(&log, &[Ending::Unknown]).start(hasty);
        insert_side_by_side(&buffer, [(1, 1), (2, 1), (3, 0)]);
        log.wait_for_total(2);
        insert_side_by_side(&buffer, [(1, 1), (2, 0), (3, 1)]);
        log.wait_for_total(4);
        buffer.shutdown(FOREVER).unwrap();
        finish(buffer, &log);
    });
}
