//! Real files, real threads, a real small file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{Journal, JournalError, OnDiskFailure};
use write_behind::{Buffer, BuildError, RetryPolicy, SummingBuffer};

use super::life::{how_many, ms};
use super::small::Small;
use super::store::{Database, Mood};

fn start(
    path: &Path,
    database: &Database,
    on_failure: OnDiskFailure,
) -> Result<SummingBuffer<u64, i64>, BuildError> {
    Buffer::builder()
        .interval(ms(20))
        .drop_timeout(Duration::ZERO)
        .retry(RetryPolicy::fixed(1_000, ms(10)))
        .journal(Journal::at(path).window(ms(5)).on_failure(on_failure))
        .start(ExactlyOnce::new(database.clone()))
}

/// The next start, as soon as the callbacks of the last one are back.
fn successor(path: &Path, database: &Database) -> SummingBuffer<u64, i64> {
    loop {
        match start(path, database, OnDiskFailure::Refuse) {
            Err(BuildError::Journal(JournalError::InUse { .. })) => thread::yield_now(),
            started => return started.unwrap(),
        }
    }
}

/// Threads insert and wait for the disk while the database comes and goes; in the end it is away, and the next start
/// delivers the rest.
#[test]
fn threads_that_are_acknowledged_count_over_lives() {
    let (folder, database) = (TempDir::new().unwrap(), Database::default());
    let path = folder.path().join("journal");
    let buffer = start(&path, &database, OnDiskFailure::Refuse).unwrap();
    let over = AtomicBool::new(false);
    let acknowledged: Vec<_> = thread::scope(|scope| {
        let insert = |thread: u64| {
            let (buffer, over) = (&buffer, &over);
            move || {
                let mut acknowledged = BTreeMap::<u64, i64>::new();
                for round in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let key = (thread + round) % 5;
                    if round % 3 == 0 {
                        buffer.add(&key, 1).unwrap();
                    } else {
                        buffer.add_durable(&key, 1).unwrap();
                    }
                    *acknowledged.entry(key).or_default() += 1;
                }
                acknowledged
            }
        };
        let inserters: Vec<_> = (0..8).map(|thread| scope.spawn(insert(thread))).collect();
        for (flushes, mood) in
            [(10, Mood::LosesAnswers), (20, Mood::RollsBack), (30, Mood::Well), (40, Mood::Away)]
        {
            while buffer.stats().flushes < flushes {
                thread::yield_now();
            }
            database.be(mood);
        }
        over.store(true, Ordering::SeqCst);
        inserters.into_iter().map(|inserter| inserter.join().unwrap()).collect()
    });
    let report = buffer.shutdown(Duration::ZERO).unwrap();
    assert_eq!((buffer.stats().balance(), buffer.stats().journaled), (0, report.journaled));
    drop(buffer);
    database.be(Mood::Well);
    let successor = successor(&path, &database);
    successor.shutdown(Duration::from_secs(600)).unwrap();
    for key in 0..5 {
        let acknowledged: i64 = acknowledged.iter().filter_map(|of_thread| of_thread.get(&key)).sum();
        assert_eq!(database.total(key), acknowledged, "of key {key}");
    }
}

#[test]
fn at_rest_nothing_is_written() {
    let (folder, database) = (TempDir::new().unwrap(), Database::default());
    let buffer = start(&folder.path().join("journal"), &database, OnDiskFailure::Refuse).unwrap();
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush_all_and_wait(Duration::from_secs(600)).unwrap();
    buffer.sync().unwrap();
    let commits = buffer.stats().journal_commits;
    // Nothing has changed: there is nothing to wait for either.
    (0..100).for_each(|_| buffer.sync().unwrap());
    assert_eq!(buffer.stats().journal_commits, commits);
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(small) = Small::new(8 << 10) else { return };
    becomes_full(&small);
}

#[test]
fn a_full_quota_loses_nothing() {
    let Some(small) = Small::with_quota(8 << 10) else { return };
    let excess = fs::write(small.path().join("ballast"), vec![7; 9 << 20]).unwrap_err();
    assert_eq!(excess.kind(), ErrorKind::QuotaExceeded);
    fs::remove_file(small.path().join("ballast")).unwrap();
    becomes_full(&small);
}

/// `WRITE_BEHIND_FULL_DISKS` says how often it becomes full (default 3). It has 8 MiB.
fn becomes_full(small: &Small) {
    let times = how_many("WRITE_BEHIND_FULL_DISKS", 3) as usize;
    for on_failure in
        [OnDiskFailure::Wait, OnDiskFailure::Refuse, OnDiskFailure::GoOn].into_iter().cycle().take(times)
    {
        let database = Database::default();
        let path = small.path().join(format!("{on_failure:?}"));
        let buffer = start(&path, &database, on_failure).unwrap();
        buffer.add_durable(&1, 1).unwrap();
        database.be(Mood::Away);
        let ballast = small.path().join("ballast");
        fs::write(&ballast, vec![7; 7 << 20]).unwrap();
        let mut accepted = BTreeMap::from([(1, 1)]);
        let mut key = 0;
        while buffer.stats().journal_failing_for.is_none() {
            key += 1;
            if buffer.add(&key, 1).is_ok() {
                *accepted.entry(key).or_default() += 1;
            }
            assert!(key < 10_000_000, "it never was full");
        }
        fs::remove_file(&ballast).unwrap();
        database.be(Mood::Well);
        while buffer.stats().journal_failing_for.is_some() {
            thread::yield_now();
        }
        buffer.add_durable(&1, 1).unwrap();
        *accepted.entry(1).or_default() += 1;
        buffer.shutdown(Duration::from_secs(600)).unwrap();
        assert_eq!(database.totals(), accepted, "{on_failure:?}");
        drop(buffer);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_start_on_a_full_disk_says_so() {
    let Some(small) = Small::new(1 << 10) else { return };
    fs::write(small.path().join("ballast"), vec![7; 2 << 20]).unwrap_err();
    let error =
        start(&small.path().join("journal"), &Database::default(), OnDiskFailure::Refuse).unwrap_err();
    assert!(error.to_string().contains("journal") && error.to_string().contains("space"), "{error}");
}
