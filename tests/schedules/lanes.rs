//! Dangers to what threads stage: takes, looks, waits and the end, that race with inserts into lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;
use write_behind::{Buffer, ManualClock, Sum};

use crate::stage::{FOREVER, Keyed, LONG, explore};

type Totals = Buffer<u8, Sum<u64>, Keyed>;

/// A buffer with all keys in lanes, and what its sink has.
fn start(clock: &ManualClock) -> (Totals, Arc<AtomicU64>) {
    let flushed = Arc::new(AtomicU64::new(0));
    let sink = {
        let flushed = Arc::clone(&flushed);
        move |_: &u8, total: &Sum<u64>| {
            flushed.fetch_add(total.0, Ordering::Relaxed);
            Ok::<(), String>(())
        }
    };
    let builder = Buffer::builder().hasher(Keyed::default()).clock(clock).seed(1).partitions(2);
    let builder = builder.flush_concurrency(1).interval(LONG).hibernate_after(2 * LONG).stage_always();
    (builder.start(sink).expect("valid settings"), flushed)
}

fn inserting(buffer: &Totals, inserts: u64) -> thread::JoinHandle<u64> {
    let buffer = buffer.clone();
    thread::spawn(move || (0..inserts).filter(|_| buffer.insert(1, 1).is_ok()).count() as u64)
}

#[test]
fn what_lanes_absorb_while_it_is_taken_is_flushed_once() {
    explore(|| {
        let clock = ManualClock::new();
        let (buffer, flushed) = start(&clock);
        let others = [inserting(&buffer, 5), inserting(&buffer, 4)];
        for _ in 0..2 {
            clock.advance(LONG);
            assert_eq!(buffer.stats().balance(), 0);
        }
        let accepted: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(accepted, 9);
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!((flushed.load(Ordering::Relaxed), buffer.stats().flushed), (9, 9));
    });
}

#[test]
fn no_staged_insert_is_both_accepted_and_missed_at_the_end() {
    explore(|| {
        let clock = ManualClock::new();
        let (buffer, flushed) = start(&clock);
        let others = [inserting(&buffer, 4), inserting(&buffer, 4)];
        buffer.shutdown(FOREVER).unwrap();
        let accepted: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        let stats = buffer.stats();
        assert_eq!((flushed.load(Ordering::Relaxed), stats.accepted, stats.pending), (accepted, accepted, 0));
    });
}

#[test]
fn waiting_for_a_flush_covers_what_the_thread_has_staged() {
    explore(|| {
        let clock = ManualClock::new();
        let (buffer, flushed) = start(&clock);
        let other = inserting(&buffer, 3);
        (0..3).for_each(|_| buffer.insert(1, 1_000).unwrap());
        buffer.flush_and_wait(&1, FOREVER).unwrap();
        assert!(flushed.load(Ordering::Relaxed) >= 3_000);
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(flushed.load(Ordering::Relaxed), 3_003);
    });
}

#[test]
fn a_look_sees_what_was_staged_before_and_a_removal_takes_it() {
    explore(|| {
        let clock = ManualClock::new();
        let (buffer, flushed) = start(&clock);
        let other = inserting(&buffer, 3);
        (0..3).for_each(|_| buffer.insert(1, 1_000).unwrap());
        assert!(buffer.count(&1).pending >= 3);
        assert!(buffer.peek(&1).pending.iter().map(|total| total.0).sum::<u64>() >= 3_000);
        let removed: u64 = buffer.remove(&1).iter().map(|total| total.0).sum();
        assert!(removed >= 3_000);
        other.join().unwrap();
        buffer.shutdown(FOREVER).unwrap();
        assert_eq!(removed + flushed.load(Ordering::Relaxed), 3_003);
        assert_eq!(buffer.stats().balance(), 0);
    });
}
