//! A disk that fails, and files that are not what they should be.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{
    DurableError, Fault, Journal, JournalError, OnDiskFailure, SimulatedDisk, SyncError,
};
use write_behind::{
    Buffer, BuildError, InsertErrorKind, ManualClock, Observer, Sum, SummingBuffer, WeakBuffer,
};

use super::life::{INTERVAL, Place, WINDOW, ms};
use super::store::Database;

/// What observers heard of the journal.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Observer for Heard {
    fn journal_failed(&self, _: &str, error: &JournalError) {
        self.0.lock().unwrap().push(error.to_string());
    }

    fn journal_recovered(&self, buffer: &str) {
        self.0.lock().unwrap().push(format!("{buffer} is well"));
    }
}

fn start(
    disk: &SimulatedDisk,
    on_failure: OnDiskFailure,
    database: &Database,
    heard: &Heard,
) -> (SummingBuffer<u64, i64>, ManualClock) {
    let clock = ManualClock::new();
    let journal = Journal::at("journal").simulated(disk).window(WINDOW).on_failure(on_failure);
    let buffer = Buffer::builder()
        .interval(INTERVAL)
        .jitter(Duration::ZERO)
        .observer(heard.clone())
        .journal(journal.patience(Duration::from_secs(1)))
        .start_inline(ExactlyOnce::new(database.clone()), &clock)
        .unwrap();
    (buffer, clock)
}

/// Has all operations fail from now on, as far as a test goes.
pub(crate) fn break_down(disk: &SimulatedDisk) {
    (0..10_000).for_each(|operation| disk.fail_at(disk.operations() + operation, Fault::NoSpace));
}

#[test]
fn by_default_inserts_are_refused_until_the_file_is_written_anew() {
    let (disk, database, heard) = (SimulatedDisk::new(1), Database::default(), Heard::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::Refuse, &database, &heard);
    buffer.add_durable(&1, 1).unwrap();
    break_down(&disk);
    let error = buffer.add_durable(&1, 10).unwrap_err();
    assert!(matches!(error, DurableError::NotDurable(SyncError::Failed(_))), "{error:?}");
    let refused = buffer.add(&1, 100).unwrap_err();
    assert_eq!((refused.kind, refused.into_rejected()), (InsertErrorKind::JournalFailed, 100));
    let refused = buffer.add(&2, 100).unwrap_err();
    assert_eq!(refused.kind, InsertErrorKind::JournalFailed, "a new key as well");
    clock.advance(INTERVAL);
    assert_eq!(database.total(1), 0, "nothing is sent that is not on disk");
    let stats = buffer.stats();
    assert!(stats.journal_failures > 1 && stats.journal_failing_for >= Some(INTERVAL), "{stats:?}");
    disk.mend();
    clock.advance(Duration::from_secs(30));
    buffer.add_durable(&1, 1_000).unwrap();
    assert_eq!(buffer.stats().journal_failing_for, None);
    buffer.shutdown(Duration::from_secs(10)).unwrap();
    assert_eq!(database.totals(), [(1, 1_011)].into());
    let heard = heard.0.lock().unwrap();
    assert!(heard[0].contains("full") && heard.last().unwrap().ends_with("is well"), "{heard:?}");
}

#[test]
fn waiting_accepts_and_acknowledges_later() {
    let (disk, database, heard) = (SimulatedDisk::new(1), Database::default(), Heard::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::Wait, &database, &heard);
    break_down(&disk);
    buffer.add(&1, 1).unwrap();
    let error = buffer.add_durable(&1, 10).unwrap_err();
    assert!(matches!(error, DurableError::NotDurable(SyncError::TimedOut(_))), "{error:?}");
    clock.advance(INTERVAL);
    assert_eq!(database.total(1), 0);
    disk.mend();
    clock.advance(Duration::from_secs(30));
    assert_eq!(database.total(1), 11, "accepted, so it counts");
}

#[test]
fn going_on_flushes_without_a_journal_and_says_so() {
    let (disk, database, heard) = (SimulatedDisk::new(1), Database::default(), Heard::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::GoOn, &database, &heard);
    break_down(&disk);
    buffer.add(&1, 1).unwrap();
    clock.advance(WINDOW);
    let error = buffer.sync().unwrap_err();
    assert!(matches!(error, SyncError::Failed(_)), "{error:?}");
    clock.advance(INTERVAL);
    assert_eq!(database.total(1), 1, "it goes on");
    assert!(buffer.stats().journal_failing_for.is_some() && !heard.0.lock().unwrap().is_empty());
    disk.mend();
    clock.advance(Duration::from_secs(30));
    buffer.add_durable(&1, 10).unwrap();
    disk.cut_power();
    std::mem::forget(buffer);
    disk.restart();
    let (buffer, _) = start(&disk, OnDiskFailure::GoOn, &database, &heard);
    assert_eq!(buffer.total(&1), Some(10), "what was flushed is not in the new file");
}

#[test]
fn a_file_that_fails_is_never_written_to_again() {
    let (database, heard) = (Database::default(), Heard::default());
    // Among them a sync that fails once, and would succeed the next time, with nothing done.
    for operation in 0..12 {
        let disk = SimulatedDisk::new(operation);
        let (buffer, _clock) = start(&disk, OnDiskFailure::Wait, &database, &heard);
        buffer.add_durable(&1, 1).unwrap();
        disk.fail_at(disk.operations() + operation, Fault::Error);
        buffer.add_durable(&1, 10).unwrap();
        disk.cut_power();
        std::mem::forget(buffer);
        disk.restart();
        let (next, _clock) = start(&disk, OnDiskFailure::Wait, &database, &heard);
        assert_eq!(next.total(&1), Some(11), "after a failure at operation {operation}");
    }
    assert!(heard.0.lock().unwrap().len() >= 10, "it did fail");
}

#[test]
fn a_file_of_other_types_is_refused_and_not_touched() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    life.buffer.add_durable(&1, 1).unwrap();
    let path = life.end();
    let before = fs::read(&path).unwrap();
    let other = Buffer::<String, Sum<i64>>::builder()
        .journal(Journal::at(&path))
        .start(|_: &String, _: &Sum<i64>| Ok::<(), &str>(()));
    let error = other.unwrap_err();
    assert!(matches!(error, BuildError::Journal(JournalError::Schema { .. })), "{error:?}");
    assert!(error.to_string().contains("u64") && error.to_string().contains("String"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "not a journal at all").unwrap();
    let other = Buffer::<u64, Sum<i64>>::builder()
        .journal(Journal::at(&path))
        .start(|_: &u64, _: &Sum<i64>| Ok::<(), &str>(()));
    let error = other.unwrap_err();
    assert!(matches!(error, BuildError::Journal(JournalError::Foreign { .. })), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"not a journal at all");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let journal = Journal::at("/no/such/folder/journal");
    let started =
        Buffer::<u64, Sum<i64>>::builder().journal(journal).start(|_: &u64, _: &Sum<i64>| Ok::<(), &str>(()));
    let error = started.unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
}

#[test]
fn a_window_passes_by_the_clock_of_the_buffer() {
    let (disk, database, heard) = (SimulatedDisk::new(1), Database::default(), Heard::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::Refuse, &database, &heard);
    buffer.add(&1, 1).unwrap();
    clock.advance(WINDOW - ms(1));
    assert_eq!(buffer.stats().journal_commits, 0);
    clock.advance(ms(1));
    assert_eq!(buffer.stats().journal_commits, 1);
    clock.advance(INTERVAL - WINDOW);
    let commits = buffer.stats().journal_commits;
    clock.advance(INTERVAL);
    assert_eq!(buffer.stats().journal_commits, commits + 1, "the end of the batch, and then nothing");
}

/// What it calls would wait for the lock of the file, if that were still held.
#[test]
fn an_observer_may_call_the_buffer_when_the_journal_fails() {
    type Weak = WeakBuffer<u64, Sum<i64>>;

    #[derive(Clone, Default)]
    struct Caller(Arc<Mutex<Option<Weak>>>);

    impl Observer for Caller {
        fn journal_failed(&self, _: &str, _: &JournalError) {
            let buffer = self.0.lock().unwrap().as_ref().and_then(WeakBuffer::upgrade);
            buffer.iter().for_each(|buffer| assert!(buffer.remove(&9).is_empty()));
        }
    }

    let (disk, caller) = (SimulatedDisk::new(1), Caller::default());
    let journal = Journal::at("journal").simulated(&disk).window(Duration::ZERO);
    let buffer: SummingBuffer<u64, i64> = Buffer::builder()
        .journal(journal)
        .observer(caller.clone())
        .start(|_: &u64, _: &Sum<i64>| Err("away"))
        .unwrap();
    *caller.0.lock().unwrap() = Some(buffer.downgrade());
    break_down(&disk);
    buffer.add_durable(&1, 1).unwrap_err();
    let error = buffer.shutdown(Duration::ZERO).unwrap_err();
    assert_eq!(error.into_undelivered().inserts(), 1, "it is nowhere else");
    assert_eq!(buffer.stats().panics, 0);
}
