//! A disk that fails while a batch is in the hands of `handle_error`, which takes its time.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use write_behind::journal::{Fault, Journal, OnDiskFailure, SimulatedDisk};
use write_behind::{
    BatchDataBuffer, Buffer, DeadLetter, FlushBatch, FlushError, Sum, SummingBuffer, Verdict,
};

use super::dangers::start;
use super::failures::break_down;
use super::life::ms;
use super::store::{Database, Mood};

const PATIENCE: Duration = Duration::from_secs(300);

/// Gives up key 1 (as a whole batch, or as single entries), and waits in `handle_error`.
struct Stuck {
    as_entries: bool,
    is_in: Mutex<mpsc::Sender<u64>>,
    go: Mutex<mpsc::Receiver<bool>>,
}

impl BatchDataBuffer<u64, Sum<i64>> for Stuck {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, Sum<i64>>) -> Result<(), FlushError> {
        if !self.as_entries {
            return Err(FlushError::never_applied("no").give_up());
        }
        FlushError::entries(
            batch
                .entries()
                .iter()
                .filter(|entry| *entry.key() == 1)
                .map(|entry| entry.failed(FlushError::never_applied("no").give_up())),
        )
    }

    fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        let _ = self.is_in.lock().unwrap().send(*letter.key());
        let forget = self.go.lock().unwrap().recv().unwrap_or(false);
        if forget { Verdict::Forget } else { Verdict::Keep(letter) }
    }
}

fn start_stuck(
    disk: &SimulatedDisk,
    as_entries: bool,
) -> (SummingBuffer<u64, i64>, mpsc::Receiver<u64>, mpsc::Sender<bool>) {
    let (is_in, entered) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let journal = Journal::at("journal").simulated(disk).window(ms(1)).on_failure(OnDiskFailure::Wait);
    let buffer = Buffer::builder()
        .interval(Duration::from_secs(3600))
        .jitter(Duration::ZERO)
        .flush_concurrency(1)
        .journal(journal.patience(PATIENCE))
        .start(Stuck { as_entries, is_in: is_in.into(), go: go.into() })
        .unwrap();
    (buffer, entered, let_go)
}

/// Another disk with the file as it is: the lock stays with the life that goes on.
fn copy_of(disk: &SimulatedDisk) -> SimulatedDisk {
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    copy
}

/// What was put aside is in the file, and no longer in memory.
#[test]
fn a_commit_that_fails_at_the_end_leaves_the_file_as_it_is() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(PATIENCE).unwrap(), 1);
    buffer.add_durable(&2, 10).unwrap();
    buffer.add_durable(&3, 10).unwrap();
    let report = buffer.shutdown(ms(300)).unwrap();
    assert_eq!(report.journaled, 2);
    // One operation fails. Then all is well.
    disk.fail_at(disk.operations(), Fault::NoSpace);
    let_go.send(true).unwrap();
    drop(let_go);
    while buffer.stats().journal_failures == 0 {
        thread::yield_now();
    }
    drop(buffer);
    let copy = copy_of(&disk);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &Database::default());
    assert_eq!((next.total(&2), next.total(&3)), (Some(10), Some(10)), "{:?}", next.recovered());
}

/// `handle_error` has a key that was given up alone; meanwhile the file is written anew, and then the power is cut.
fn in_hands(as_entries: bool) {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, as_entries);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(PATIENCE).unwrap(), 1);
    disk.fail_at(disk.operations(), Fault::NoSpace);
    buffer.add_durable(&2, 10).unwrap();
    assert_eq!(buffer.stats().journal_failures, 1);
    disk.cut_power();
    disk.restart();
    std::mem::forget(buffer);
    let database = Database::default();
    database.be(Mood::Away);
    let copy = copy_of(&disk);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    let recovered = next.recovered().unwrap();
    let (keys, total) = (recovered.keys, next.count(&1));
    std::mem::forget(let_go);
    std::mem::forget(next);
    assert_eq!(keys, 2, "{recovered:?} {total:?}");
}

#[test]
fn a_batch_in_the_hands_of_handle_error() {
    in_hands(false);
}

#[test]
fn a_single_entry_in_the_hands_of_handle_error() {
    in_hands(true);
}

#[test]
fn a_recovered_one_in_the_hands_of_handle_error() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(PATIENCE).unwrap(), 1);
    let copy = copy_of(&disk);
    std::mem::forget((buffer, let_go));
    let disk = copy;
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    assert_eq!(entered.recv_timeout(PATIENCE).unwrap(), 1);
    disk.fail_at(disk.operations(), Fault::NoSpace);
    buffer.add_durable(&2, 10).unwrap();
    assert_eq!(buffer.stats().journal_failures, 1);
    let copy = copy_of(&disk);
    std::mem::forget((buffer, let_go));
    let database = Database::default();
    database.be(Mood::Away);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    let recovered = next.recovered().unwrap();
    std::mem::forget(next);
    assert_eq!(recovered.keys, 2, "{recovered:?}");
}

#[test]
fn one_who_waits_at_the_end_is_told_what_is_on_disk() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(PATIENCE).unwrap(), 1);
    break_down(&disk);
    let waits = thread::spawn({
        let buffer = buffer.clone();
        move || buffer.add_durable(&2, 10)
    });
    while buffer.stats().journal_failing_for.is_none() {
        thread::yield_now();
    }
    let _ = buffer.shutdown(ms(300));
    disk.mend();
    let answer = waits.join().unwrap();
    let copy = copy_of(&disk);
    std::mem::forget((buffer, let_go));
    let database = Database::default();
    database.be(Mood::Away);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    assert!(answer.is_err() || next.total(&2) == Some(10), "{answer:?}");
    std::mem::forget(next);
}
