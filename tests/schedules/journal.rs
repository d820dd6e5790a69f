//! Dangers of the journal: an insert, a take and a removal beside a commit, one who waits beside the end and beside a disk
//! that fails; and the process may die at any time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use write_behind::journal::{DurableError, Fault, Journal, OnDiskFailure, SimulatedDisk};
use write_behind::{ManualClock, Overflow};

use crate::stage::{Ending, FOREVER, Fate, Lists, Log, Sink, explore, settings};

fn start(disk: &SimulatedDisk, log: &Arc<Log>, clock: &ManualClock, on_failure: OnDiskFailure) -> Lists {
    start_with(disk, Sink::new(log), clock, on_failure)
}

fn start_with(disk: &SimulatedDisk, sink: Sink, clock: &ManualClock, on_failure: OnDiskFailure) -> Lists {
    let journal = Journal::at("journal").simulated(disk).on_failure(on_failure).window(Duration::ZERO);
    sink.start(settings(clock).journal(journal))
}

/// What was acknowledged, by whichever thread.
type Acknowledged = Arc<Mutex<Vec<(u8, u64)>>>;

fn insert_durable(buffer: &Lists, key: u8, item: u64, acknowledged: &Acknowledged) {
    match buffer.insert_durable(key, item) {
        Ok(()) => acknowledged.lock().unwrap().push((key, item)),
        Err(DurableError::Refused(_) | DurableError::NotDurable(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// The next life delivers what is left, or gives it up: what was acknowledged is not lost, and nothing counts twice.
fn next_life(disk: &SimulatedDisk, log: &Arc<Log>, acknowledged: &Acknowledged, all: &[(u8, u64)]) {
    let buffer = start(disk, log, &ManualClock::new(), OnDiskFailure::Refuse);
    buffer.retry_undelivered();
    buffer.shutdown(FOREVER).unwrap();
    let stats = buffer.stats();
    assert_eq!((stats.balance(), stats.journaled, stats.panics), (0, 0, 0), "{stats:?}");
    drop(buffer);
    log.wait_for_cores(2);
    let acknowledged = acknowledged.lock().unwrap();
    for (key, item) in all {
        let times = log.applied(*key).iter().filter(|applied| *applied == item).count();
        assert!(times <= 1, "{item} of key {key} counts {times} times");
        let is_due = acknowledged.contains(&(*key, *item));
        // Given up counts as well: perhaps twice, if `handle_error` was called again.
        let counts = times == 1 || log.given_up(*key).contains(item);
        assert!(counts || !is_due, "{item} of key {key} was acknowledged and is lost");
    }
}

/// Threads insert and flush, and at some instant the process dies.
fn dies(script: &'static [Ending]) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let (disk, acknowledged) = (SimulatedDisk::new(thread_rng().r#gen()), Acknowledged::default());
        let buffer = start_with(&disk, Sink::scripted(&log, script), &clock, OnDiskFailure::Refuse);
        let inserters = [10, 20].map(|item| {
            let (buffer, acknowledged) = (buffer.clone(), Arc::clone(&acknowledged));
            thread::spawn(move || {
                insert_durable(&buffer, 1, item, &acknowledged);
                insert_durable(&buffer, 2, item, &acknowledged);
            })
        });
        let flusher = thread::spawn({
            let buffer = buffer.clone();
            move || buffer.flush_all()
        });
        (0..thread_rng().gen_range(0..20)).for_each(|_| thread::yield_now());
        disk.cut_power();
        inserters.into_iter().for_each(|inserter| inserter.join().unwrap());
        flusher.join().unwrap();
        let _ = buffer.shutdown(Duration::ZERO);
        drop(buffer);
        log.wait_for_cores(1);
        disk.restart();
        next_life(&disk, &log, &acknowledged, &[(1, 10), (1, 20), (2, 10), (2, 20)]);
    });
}

#[test]
fn what_was_acknowledged_survives_whenever_the_process_dies() {
    dies(&[]);
}

#[test]
fn what_was_acknowledged_survives_a_split_whenever_the_process_dies() {
    dies(&[Ending::NotApplied, Ending::LostAnswer]);
}

#[test]
fn what_was_acknowledged_survives_when_single_keys_fail() {
    dies(&[Ending::FirstKey, Ending::Unknown]);
}

#[test]
fn one_who_waits_gets_an_answer_when_the_buffer_ends() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let (disk, acknowledged) = (SimulatedDisk::new(1), Acknowledged::default());
        let sink = Sink { then: Ending::Unknown, fate: Fate::Keep, ..Sink::new(&log) };
        let buffer = start_with(&disk, sink, &clock, OnDiskFailure::Refuse);
        let inserters = [10, 20].map(|item| {
            let (buffer, acknowledged) = (buffer.clone(), Arc::clone(&acknowledged));
            thread::spawn(move || insert_durable(&buffer, 1, item, &acknowledged))
        });
        buffer.flush_all();
        let report = buffer.shutdown(Duration::ZERO).unwrap();
        inserters.into_iter().for_each(|inserter| inserter.join().unwrap());
        let stats = buffer.stats();
        assert_eq!((stats.balance(), stats.journaled), (0, report.journaled), "{stats:?}");
        drop(buffer);
        log.wait_for_cores(1);
        next_life(&disk, &log, &acknowledged, &[(1, 10), (1, 20)]);
    });
}

/// The disk fails once, at some operation.
fn fails(on_failure: OnDiskFailure) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let (disk, acknowledged) = (SimulatedDisk::new(thread_rng().r#gen()), Acknowledged::default());
        let buffer = start(&disk, &log, &clock, on_failure);
        let faults = [Fault::Error, Fault::NoSpace, Fault::Short];
        disk.fail_at(disk.operations() + thread_rng().gen_range(0..30), faults[thread_rng().gen_range(0..3)]);
        let inserters = [10, 20].map(|item| {
            let (buffer, acknowledged) = (buffer.clone(), Arc::clone(&acknowledged));
            thread::spawn(move || insert_durable(&buffer, 1, item, &acknowledged))
        });
        buffer.flush_all();
        inserters.into_iter().for_each(|inserter| inserter.join().unwrap());
        let stats = buffer.stats();
        let report = buffer.shutdown(FOREVER);
        // It fails once only: the file is written anew, and all is well.
        assert_eq!(report.map(|report| report.journaled).unwrap(), 0);
        assert_eq!(stats.balance(), 0, "{stats:?}");
        drop(buffer);
        log.wait_for_cores(1);
        next_life(&disk, &log, &acknowledged, &[(1, 10), (1, 20)]);
    });
}

#[test]
fn a_disk_that_fails_is_waited_for() {
    fails(OnDiskFailure::Wait);
}

#[test]
fn a_disk_that_fails_has_inserts_refused() {
    fails(OnDiskFailure::Refuse);
}

#[test]
fn a_disk_that_fails_is_gone_on_without() {
    fails(OnDiskFailure::GoOn);
}

#[test]
fn what_was_removed_is_not_there_after_a_crash() {
    explore(|| {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let (disk, acknowledged) = (SimulatedDisk::new(1), Acknowledged::default());
        let buffer = start(&disk, &log, &clock, OnDiskFailure::Refuse);
        let inserter = thread::spawn({
            let (buffer, acknowledged) = (buffer.clone(), Arc::clone(&acknowledged));
            move || (10..12).for_each(|item| insert_durable(&buffer, 1, item, &acknowledged))
        });
        let removed = buffer.remove(&1).concat();
        buffer.sync().unwrap();
        inserter.join().unwrap();
        disk.cut_power();
        let _ = buffer.shutdown(Duration::ZERO);
        drop(buffer);
        log.wait_for_cores(1);
        disk.restart();
        acknowledged.lock().unwrap().retain(|(_, item)| !removed.contains(item));
        next_life(&disk, &log, &acknowledged, &[(1, 10), (1, 11)]);
        assert!(log.applied(1).iter().all(|item| !removed.contains(item)), "it came back");
    });
}

/// Room for two keys: the others go to disk and come back, beside one who waits for all of it, and the end or a crash.
fn spills(script: &'static [Ending], dies: bool) {
    explore(move || {
        let (clock, log): (_, Arc<Log>) = (ManualClock::new(), Arc::default());
        let (disk, acknowledged) = (SimulatedDisk::new(thread_rng().r#gen()), Acknowledged::default());
        let journal = Journal::at("journal").simulated(&disk).window(Duration::ZERO);
        let spill = Overflow::Spill { max_bytes: 1_000, timeout: FOREVER };
        let settings = settings(&clock).max_keys(2).overflow(spill).journal(journal);
        let buffer = Sink::scripted(&log, script).start(settings);
        let inserters = [10, 20].map(|item| {
            let (buffer, acknowledged) = (buffer.clone(), Arc::clone(&acknowledged));
            thread::spawn(move || (1..4).for_each(|key| insert_durable(&buffer, key, item, &acknowledged)))
        });
        let flusher = thread::spawn({
            let buffer = buffer.clone();
            move || {
                let _ = buffer.flush_all_and_wait(Duration::from_millis(1));
            }
        });
        if dies {
            (0..thread_rng().gen_range(0..30)).for_each(|_| thread::yield_now());
            disk.cut_power();
            let _ = buffer.shutdown(Duration::ZERO);
        }
        inserters.into_iter().for_each(|inserter| inserter.join().unwrap());
        if !dies {
            buffer.flush_all_and_wait(FOREVER).unwrap();
            let stats = buffer.stats();
            assert_eq!(
                (stats.balance(), stats.spilled, stats.pending, stats.in_flight),
                (0, 0, 0, 0),
                "{stats:?}"
            );
            buffer.shutdown(FOREVER).unwrap();
        }
        flusher.join().unwrap();
        drop(buffer);
        log.wait_for_cores(1);
        if dies {
            disk.restart();
        }
        let all: Vec<_> = (1..4).flat_map(|key| [(key, 10), (key, 20)]).collect();
        next_life(&disk, &log, &acknowledged, &all);
    });
}

#[test]
fn what_there_is_no_room_for_goes_to_disk_and_comes_back() {
    spills(&[], false);
}

#[test]
fn what_there_is_no_room_for_comes_back_after_failures() {
    spills(&[Ending::NotApplied, Ending::Unknown], false);
}

#[test]
fn what_is_on_disk_only_survives_whenever_the_process_dies() {
    spills(&[Ending::NotApplied], true);
}
