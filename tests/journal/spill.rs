//! What there is no room for waits on disk.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{Fault, Journal, OnDiskFailure, SimulatedDisk};
use write_behind::{
    BatchDataBuffer, Buffer, BuildError, Builder, FlushBatch, FlushError, FlushWaitError, InsertErrorKind,
    ManualClock, Overflow, RetryPolicy, Sum, SummingBuffer,
};

use super::failures::break_down;
use super::life::{INTERVAL, Life, Place, WINDOW, how_many, ms};
use super::store::{Database, Mood};

pub(super) const SPILL: Overflow = Overflow::Spill { max_bytes: 1 << 20, timeout: Duration::from_secs(1) };

/// Room for so many keys.
fn room_for(keys: u64) -> impl FnOnce(Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>> {
    move |builder| builder.max_keys(keys).overflow(SPILL)
}

fn fill(life: &Life, keys: std::ops::Range<u64>) {
    keys.for_each(|key| life.add(key, key as i64 + 1));
}

/// What the database has to have in the end.
fn all(keys: std::ops::Range<u64>) -> BTreeMap<u64, i64> {
    keys.map(|key| (key, key as i64 + 1)).collect()
}

#[test]
fn many_keys_go_through_little_room_while_the_database_is_away() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, room_for(20));
    database.be(Mood::Away);
    for key in 0..500 {
        life.add(key, key as i64 + 1);
        let stats = life.buffer.stats();
        assert!(stats.keys <= 20 && stats.balance() == 0, "{stats:?}");
    }
    life.pass(INTERVAL);
    let stats = life.buffer.stats();
    assert_eq!((stats.accepted, stats.flushed), (500, 0));
    assert!(stats.spilled >= 480 && stats.spilled_bytes > 480, "{stats:?}");
    database.be(Mood::Well);
    life.pass(INTERVAL * 100);
    let stats = life.buffer.stats();
    assert_eq!((stats.flushed, stats.spilled, stats.spilled_bytes), (500, 0, 0));
    assert!(database.totals() == all(0..500));
    assert!(life.buffer.stats().hibernating);
    life.end();
}

#[test]
fn it_survives_a_crash_at_any_time() {
    let (place, database) = (Place::new(), Database::default());
    let mut life = place.begin_with(&database, room_for(20));
    database.be(Mood::LosesAnswers);
    fill(&life, 0..200);
    life.buffer.sync().unwrap();
    for part in 0..5 {
        life = place.crash(life, &database);
        let recovered = life.recovered();
        assert!(recovered.keys <= 200 && life.buffer.stats().balance() == 0, "{recovered:?}");
        if part == 0 {
            assert!(life.buffer.stats().recovered == 200);
        }
        life.pass(ms(150));
        life.buffer.sync().unwrap();
    }
    database.be(Mood::Well);
    life.pass(INTERVAL * 10);
    assert!(database.totals() == all(0..200));
    assert_eq!(life.buffer.stats().spilled, 0);
    life.end();
}

#[test]
fn what_is_recovered_and_does_not_fit_stays_on_disk() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, room_for(20));
    database.be(Mood::Away);
    fill(&life, 0..200);
    life.buffer.sync().unwrap();
    let copy = place.begin(&database).end();
    fs::copy(&life.path, &copy).unwrap();
    std::mem::forget(life);
    let clock = ManualClock::new();
    let builder = Buffer::builder().interval(INTERVAL).partitions(2).max_batch_keys(4).max_keys(30);
    let builder =
        builder.retry(RetryPolicy::fixed(1_000, ms(100))).journal(Journal::at(&copy).window(WINDOW));
    let sink = ExactlyOnce::new(database.clone()).prune_every(1);
    // Without the policy, too.
    let buffer: SummingBuffer<u64, i64> = builder.start_inline(sink, &clock).unwrap();
    let stats = buffer.stats();
    assert_eq!((stats.recovered, stats.balance()), (200, 0));
    assert!(stats.spilled > 100 && stats.keys <= 40, "{stats:?}");
    database.be(Mood::Well);
    clock.advance(INTERVAL * 10);
    assert!(database.totals() == all(0..200));
    buffer.shutdown(Duration::from_secs(1)).unwrap();
}

#[test]
fn the_disk_has_a_bound_as_well() {
    let (place, database) = (Place::new(), Database::default());
    let spill = Overflow::Spill { max_bytes: 1_000, timeout: Duration::from_secs(1) };
    let life = place.begin_with(&database, |builder| builder.max_keys(20).overflow(spill));
    database.be(Mood::Away);
    let refused = (0..1_000).find_map(|key| Some((key, life.buffer.add(&key, key as i64 + 1).err()?)));
    let (keys, refused) = refused.unwrap();
    assert_eq!(refused.kind, InsertErrorKind::TimedOut);
    let stats = life.buffer.stats();
    assert!(stats.spilled_bytes >= 1_000 && stats.spilled_bytes < 1_500, "{stats:?}");
    // Full here and there, and still it gets out.
    database.be(Mood::Well);
    life.pass(INTERVAL * 10);
    assert!(database.totals() == all(0..keys));
    life.end();
}

#[test]
fn who_waits_for_a_flush_waits_for_what_is_on_disk() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, room_for(20));
    database.be(Mood::Away);
    fill(&life, 0..100);
    assert!(life.buffer.stats().spilled > 0);
    assert!(!life.buffer.contains(&50), "it is on disk only");
    let error = life.buffer.flush_and_wait(&50, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, FlushWaitError::TimedOut(_)), "{error:?}");
    database.be(Mood::Well);
    life.buffer.flush_and_wait(&50, INTERVAL * 10).unwrap();
    assert_eq!(database.total(50), 51);
    assert_eq!(life.buffer.stats().spilled, 0);

    database.be(Mood::Away);
    fill(&life, 100..200);
    database.be(Mood::Well);
    life.buffer.flush_all_and_wait(INTERVAL * 10).unwrap();
    assert!(database.totals() == all(0..200));
    life.end();
}

#[test]
fn what_is_given_up_after_it_was_loaded_is_told_to_who_waits() {
    let (place, database) = (Place::new(), Database::default());
    let life =
        place.begin_with(&database, |builder| room_for(40)(builder.retry(RetryPolicy::fixed(3, ms(10)))));
    database.be(Mood::RollsBack);
    // No time passes while they are inserted.
    (0..100).for_each(|key| life.add(2 * key + 1, 1));
    assert!(life.buffer.stats().spilled > 0 && life.buffer.stats().undelivered == 0);
    database.be(Mood::RefusesOddKeys);
    let error = life.buffer.flush_all_and_wait(INTERVAL * 100).unwrap_err();
    assert!(matches!(error, FlushWaitError::Failed(_)), "{error:?}");
    assert_eq!(life.buffer.stats().spilled, 0);
}

#[test]
fn shutdown_leaves_it_in_the_file_and_says_so() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, room_for(20));
    database.be(Mood::Away);
    fill(&life, 0..100);
    let report = life.buffer.shutdown(Duration::from_millis(100)).unwrap();
    let stats = life.buffer.stats();
    assert_eq!((report.journaled, stats.journaled, stats.spilled, stats.balance()), (100, 100, 0, 0));
    database.be(Mood::Well);
    let next = place.crash(life, &database);
    assert_eq!(next.recovered().inserts, 100);
    next.end();
    assert!(database.totals() == all(0..100));
}

#[test]
fn a_drain_takes_what_is_on_disk_along() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin_with(&database, room_for(20));
    database.be(Mood::Away);
    fill(&life, 0..300);
    database.be(Mood::Well);
    let path = life.end();
    assert!(database.totals() == all(0..300));
    assert!(fs::metadata(path).unwrap().len() < 200_000, "it is small again");
}

#[test]
fn a_fresh_file_gets_what_is_on_disk_only_from_the_old_one() {
    for on_failure in [OnDiskFailure::Wait, OnDiskFailure::Refuse, OnDiskFailure::GoOn] {
        let (disk, database, clock) = (SimulatedDisk::new(1), Database::default(), ManualClock::new());
        let start = || {
            let journal = Journal::at("journal").simulated(&disk).window(WINDOW).on_failure(on_failure);
            let builder: Builder<u64, Sum<i64>> = Buffer::builder();
            let builder = builder.interval(INTERVAL).jitter(Duration::ZERO).partitions(2).max_batch_keys(4);
            let builder = room_for(20)(builder.retry(RetryPolicy::fixed(1_000, ms(100))));
            let sink = ExactlyOnce::new(database.clone()).prune_every(1);
            builder.journal(journal).start_inline(sink, &clock).unwrap()
        };
        let buffer = start();
        database.be(Mood::Away);
        (0..100).for_each(|key| buffer.add(&key, key as i64 + 1).unwrap());
        let spilled = buffer.stats().spilled;
        break_down(&disk);
        let _ = buffer.add(&0, 0);
        clock.advance(WINDOW);
        assert!(buffer.sync().is_err() && buffer.stats().journal_failing_for.is_some());
        database.be(Mood::Well);
        clock.advance(INTERVAL);
        assert!(buffer.stats().spilled >= spilled, "nothing is read from a file that has failed");
        disk.mend();
        database.be(Mood::Away);
        clock.advance(Duration::from_secs(31));
        buffer.sync().unwrap();
        assert!(buffer.stats().spilled > 0 && buffer.stats().balance() == 0);
        // It is all there, also for the next life.
        disk.cut_power();
        std::mem::forget(buffer);
        disk.restart();
        database.be(Mood::Well);
        let buffer = start();
        buffer.shutdown(Duration::from_secs(60)).unwrap();
        assert!(database.totals() == all(0..100), "{on_failure:?}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_trouble_with_the_disk() {
    let (disk, database, clock) = (SimulatedDisk::new(1), Database::default(), ManualClock::new());
    let builder: Builder<u64, Sum<i64>> = Buffer::builder();
    let builder = room_for(200)(builder.interval(INTERVAL).partitions(2).max_batch_keys(4));
    let journal = Journal::at("journal").simulated(&disk).window(WINDOW);
    let sink = ExactlyOnce::new(database.clone()).prune_every(1);
    let buffer = builder.journal(journal).start_inline(sink, &clock).unwrap();
    database.be(Mood::Away);
    (0..2_000).for_each(|key| buffer.add(&key, key as i64 + 1).unwrap());
    clock.advance(INTERVAL);
    database.be(Mood::Well);
    let failures = buffer.stats().journal_failures;
    for operation in (0..200).step_by(7) {
        disk.fail_at(disk.operations() + operation, Fault::Error);
        clock.advance(ms(500));
    }
    disk.mend();
    clock.advance(INTERVAL * 40);
    assert!(buffer.stats().journal_failures > failures, "it did fail");
    let stats = buffer.stats();
    assert_eq!((stats.flushed, stats.spilled, stats.balance()), (2_000, 0, 0), "{stats:?}");
    assert!(database.totals() == all(0..2_000));
}

/// `WRITE_BEHIND_SPILL_KEYS` says how many keys, a hundred times as many as there is room for.
#[test]
fn a_hundred_times_as_many_keys_as_there_is_room_for() {
    let keys = how_many("WRITE_BEHIND_SPILL_KEYS", 20_000);
    let folder = tempfile::tempdir().unwrap();
    let sums = Sums::default();
    sums.0.lock().unwrap().away = true;
    let buffer: SummingBuffer<u64, i64> = Buffer::builder()
        .max_keys(keys / 100)
        .overflow(Overflow::Spill { max_bytes: u64::MAX, timeout: Duration::from_secs(300) })
        .retry(RetryPolicy::fixed(u32::MAX, ms(50)))
        .journal(Journal::at(folder.path().join("journal")))
        .start(sums.clone())
        .unwrap();
    // Each key three times, the second time with all others in between.
    for round in 1..3 {
        for key in 0..keys {
            buffer.add(&key, round).unwrap();
            if key % 2 == 0 {
                buffer.add(&key, 4).unwrap();
            }
            if key % 1_000 == 0 {
                let stats = buffer.stats();
                assert!(stats.keys <= keys / 100 && stats.balance() == 0, "{stats:?}");
            }
        }
    }
    let stats = buffer.stats();
    assert!(stats.spilled > 2 * keys, "{stats:?}");
    println!("on disk only: {} inserts, {} bytes", stats.spilled, stats.spilled_bytes);
    sums.0.lock().unwrap().away = false;
    buffer.flush_all_and_wait(Duration::from_secs(3_000)).unwrap();
    assert_eq!(buffer.shutdown(Duration::from_secs(300)).unwrap().journaled, 0);
    let sums = &sums.0.lock().unwrap().sums;
    assert_eq!(sums.len() as u64, keys);
    let wrong = sums.iter().find(|(key, sum)| **sum != if *key % 2 == 0 { 11 } else { 3 });
    assert_eq!(wrong, None);
}

#[derive(Clone, Default)]
struct Sums(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    sums: BTreeMap<u64, i64>,
    away: bool,
}

impl BatchDataBuffer<u64, Sum<i64>> for Sums {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, Sum<i64>>) -> Result<(), FlushError> {
        let account = &mut *self.0.lock().unwrap();
        if account.away {
            return Err(FlushError::unknown("away"));
        }
        let sums = &mut account.sums;
        batch.entries().iter().for_each(|entry| *sums.entry(*entry.key()).or_default() += entry.data().0);
        Ok(())
    }
}

#[test]
fn it_needs_a_journal_and_a_byte() {
    let spill = |max_bytes| Overflow::Spill { max_bytes, timeout: Duration::from_secs(1) };
    let start = |builder: Builder<u64, Sum<i64>>| {
        builder.start_inline(|_: &u64, _: &Sum<i64>| Ok::<(), String>(()), &ManualClock::new())
    };
    let error = start(Buffer::builder().overflow(spill(1_000))).unwrap_err();
    assert!(matches!(error, BuildError::Invalid { option: "overflow", .. }), "{error:?}");
    assert!(error.to_string().contains("Builder::journal"), "{error}");
    let journal = Journal::at("journal").simulated(&SimulatedDisk::new(1));
    let error = start(Buffer::builder().overflow(spill(0)).journal(journal)).unwrap_err();
    assert!(error.to_string().contains("max_bytes"), "{error}");
}
