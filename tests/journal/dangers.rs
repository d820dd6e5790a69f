//! Ways in which a disk that fails could have had something lost or doubled, and once did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{Codec, CodecError, Journal, JournalError, OnDiskFailure, SimulatedDisk};
use write_behind::{Aggregate, Buffer, BuildError, ManualClock, Overflow, RetryPolicy, Sum, SummingBuffer};

use super::failures::break_down;
use super::life::{INTERVAL, Place, WINDOW, ms};
use super::store::{Database, Mood};

pub(crate) fn start(
    disk: &SimulatedDisk,
    on_failure: OnDiskFailure,
    database: &Database,
) -> (SummingBuffer<u64, i64>, ManualClock) {
    let clock = ManualClock::new();
    let journal = Journal::at("journal").simulated(disk).window(WINDOW).on_failure(on_failure);
    let buffer = Buffer::builder()
        .interval(INTERVAL)
        .jitter(Duration::ZERO)
        .retry(RetryPolicy::fixed(1_000, ms(100)))
        .journal(journal.patience(Duration::from_secs(1)))
        .start_inline(ExactlyOnce::new(database.clone()), &clock)
        .unwrap();
    (buffer, clock)
}

fn within(time: Duration, what: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        what();
        let _ = done.send(());
    });
    is_done.recv_timeout(time).expect("it hangs, or panicked");
}

/// The batches of the meantime are taken apart like any others.
#[test]
fn a_batch_is_split_while_it_goes_on_without_a_journal() {
    within(Duration::from_secs(300), || {
        let (disk, database) = (SimulatedDisk::new(1), Database::default());
        let (buffer, clock) = start(&disk, OnDiskFailure::GoOn, &database);
        break_down(&disk);
        buffer.add(&1, 1).unwrap();
        clock.advance(WINDOW);
        assert!(buffer.stats().journal_failing_for.is_some());
        buffer.add(&2, 1).unwrap();
        buffer.add(&3, 1).unwrap();
        database.be(Mood::RollsBack);
        clock.advance(INTERVAL);
        std::mem::forget(buffer);
    });
}

#[test]
fn ids_of_a_time_without_a_journal_are_not_used_again() {
    let (disk, database) = (SimulatedDisk::new(1), Database::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::GoOn, &database);
    break_down(&disk);
    buffer.add(&1, 1).unwrap();
    clock.advance(INTERVAL);
    assert_eq!(database.total(1), 1);
    disk.cut_power();
    std::mem::forget(buffer);
    disk.mend();
    disk.restart();
    let (buffer, clock) = start(&disk, OnDiskFailure::GoOn, &database);
    buffer.add_durable(&2, 10).unwrap();
    clock.advance(INTERVAL);
    assert_eq!(database.total(2), 10, "durable, in a new life with a good disk: {:?}", buffer.stats());
}

/// To a sink of single keys each is a batch of its own, with an id of its own.
#[test]
fn batches_of_many_keys_are_refused_if_the_sink_takes_single_ones() {
    let (place, database) = (Place::new(), Database::default());
    let life = place.begin(&database);
    database.be(Mood::Away);
    (0..4).for_each(|key| life.add(key, 1));
    life.pass(INTERVAL);
    life.buffer.shutdown(Duration::ZERO).unwrap();
    let path = life.path.clone();
    drop(life);
    let single = |_: &u64, _: &Sum<i64>| Ok::<(), &str>(());
    let started: Result<SummingBuffer<u64, i64>, _> =
        Buffer::builder().journal(Journal::at(&path)).start_inline(single, &ManualClock::new());
    let error = started.unwrap_err();
    assert!(matches!(error, BuildError::Journal(JournalError::Batches { .. })), "{error:?}");
    database.be(Mood::Well);
    super::life::Life::begin(path, &database).end();
    assert_eq!(database.totals(), (0..4).map(|key| (key, 1)).collect());
}

/// Weighs what it says.
#[derive(Debug, Clone)]
struct Heavy(u64);

impl Aggregate for Heavy {
    type Item = u64;

    fn start(item: u64) -> Self {
        Heavy(item)
    }

    fn absorb(&mut self, item: u64) {
        self.0 += item;
    }

    fn merge(&mut self, later: Self) {
        self.0 += later.0;
    }

    fn weight(&self) -> u64 {
        self.0
    }

    fn start_weight(item: &u64) -> u64 {
        *item
    }

    fn growth(&self, item: &u64) -> u64 {
        *item
    }
}

struct Bytes;

impl Codec<u64, Heavy> for Bytes {
    fn encode_key(&self, key: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(key.to_le_bytes());
        Ok(())
    }

    fn decode_key(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(bytes.try_into()?))
    }

    fn encode_data(&self, data: &Heavy, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(data.0.to_le_bytes());
        Ok(())
    }

    fn decode_data(&self, bytes: &[u8]) -> Result<Heavy, CodecError> {
        Ok(Heavy(u64::from_le_bytes(bytes.try_into()?)))
    }
}

#[test]
fn an_insert_after_a_refused_one_is_written_within_the_window() {
    let (disk, clock) = (SimulatedDisk::new(1), ManualClock::new());
    let start = |clock: &ManualClock| -> Buffer<u64, Heavy> {
        Buffer::builder()
            .interval(Duration::from_secs(3600))
            .jitter(Duration::ZERO)
            .max_weight(100)
            .partitions(1)
            .overflow(Overflow::Reject)
            .journal(Journal::with_codec("journal", Bytes).simulated(&disk).window(WINDOW))
            .start_inline(|_: &u64, _: &Heavy| Ok::<(), &str>(()), clock)
            .unwrap()
    };
    let buffer = start(&clock);
    buffer.insert_durable(1, 10).unwrap();
    buffer.insert(1, 1_000).unwrap_err();
    buffer.insert(1, 1).unwrap();
    clock.advance(Duration::from_secs(600));
    disk.cut_power();
    std::mem::forget(buffer);
    disk.restart();
    let buffer = start(&ManualClock::new());
    assert_eq!(buffer.peek(&1).pending[0].0, 11, "accepted ten minutes before the crash");
}

#[test]
fn a_batch_that_was_on_disk_is_sent_again_while_the_disk_fails() {
    let (disk, database) = (SimulatedDisk::new(1), Database::default());
    let (buffer, clock) = start(&disk, OnDiskFailure::Wait, &database);
    database.be(Mood::Away);
    buffer.add_durable(&1, 1).unwrap();
    clock.advance(INTERVAL);
    assert!(buffer.stats().failures > 0);
    break_down(&disk);
    buffer.add(&2, 1).unwrap();
    clock.advance(WINDOW);
    assert!(buffer.stats().journal_failing_for.is_some());
    clock.advance(ms(1000));
    database.be(Mood::Well);
    clock.advance(Duration::from_secs(60));
    let total = database.total(1);
    std::mem::forget(buffer);
    assert_eq!(total, 1, "the file has it, and the database is well");
}

/// As [`Bytes`], and panics while it is told to.
struct Panics(Arc<AtomicBool>);

impl Codec<u64, Heavy> for Panics {
    fn encode_key(&self, key: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Bytes.encode_key(key, out)
    }

    fn decode_key(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        Bytes.decode_key(bytes)
    }

    fn encode_data(&self, data: &Heavy, out: &mut Vec<u8>) -> Result<(), CodecError> {
        assert!(!self.0.load(Ordering::Relaxed), "no");
        Bytes.encode_data(data, out)
    }

    fn decode_data(&self, bytes: &[u8]) -> Result<Heavy, CodecError> {
        Bytes.decode_data(bytes)
    }
}

/// One that panics once is passed over when the file is written anew.
#[test]
fn a_codec_that_panics_does_not_end_the_journal() {
    let (disk, panics) = (SimulatedDisk::new(1), Arc::new(AtomicBool::new(false)));
    let journal = Journal::with_codec("journal", Panics(Arc::clone(&panics))).simulated(&disk).window(ms(1));
    let buffer: Buffer<u64, Heavy> = Buffer::builder()
        .interval(Duration::from_secs(3600))
        .drop_timeout(Duration::ZERO)
        .journal(journal.patience(Duration::from_secs(300)).on_failure(OnDiskFailure::Wait))
        .start(|_: &u64, _: &Heavy| Err::<(), &str>("away"))
        .unwrap();
    buffer.insert_durable(1, 1).unwrap();
    buffer.flush(&1);
    while buffer.stats().failures == 0 {
        thread::yield_now();
    }
    panics.store(true, Ordering::Relaxed);
    buffer.insert(2, 1).unwrap();
    while buffer.stats().journal_failures < 2 {
        thread::yield_now();
    }
    panics.store(false, Ordering::Relaxed);
    buffer.insert_durable(3, 1).unwrap();
}
