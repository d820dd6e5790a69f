use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{Codec, CodecError, Fault, Journal, JournalError, OnDiskFailure, SimulatedDisk};
use write_behind::{
    Aggregate, BatchDataBuffer, Buffer, DeadLetter, FlushBatch, FlushError, ManualClock, Observer, Overflow,
    RetryPolicy, Sum, SummingBuffer, Verdict, WeakBuffer,
};

use super::life::{INTERVAL, Life, Place, WINDOW, ms};
use super::store::{Database, Mood};

fn start(disk: &SimulatedDisk, on_failure: OnDiskFailure, database: &Database) -> (SummingBuffer<u64, i64>, ManualClock) {
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

fn break_down(disk: &SimulatedDisk) {
    (0..10_000).for_each(|operation| disk.fail_at(disk.operations() + operation, Fault::NoSpace));
}

fn within(time: Duration, what: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        what();
        let _ = done.send(());
    });
    is_done.recv_timeout(time).expect("it hangs, or panicked");
}

/// T1
#[test]
fn t1_goon_and_a_split() {
    within(Duration::from_secs(20), || {
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

type Gate = Arc<(Mutex<mpsc::Sender<u64>>, Mutex<mpsc::Receiver<Verdict<u64, Sum<i64>>>>)>;

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
        FlushError::entries(batch.entries().iter().filter(|entry| *entry.key() == 1)
            .map(|entry| entry.failed(FlushError::never_applied("no").give_up())))
    }

    fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        let _ = self.is_in.lock().unwrap().send(*letter.key());
        let forget = self.go.lock().unwrap().recv().unwrap_or(false);
        if forget { Verdict::Forget } else { Verdict::Keep(letter) }
    }
}

fn start_stuck(disk: &SimulatedDisk, as_entries: bool) -> (SummingBuffer<u64, i64>, mpsc::Receiver<u64>, mpsc::Sender<bool>) {
    let (is_in, entered) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let journal = Journal::at("journal").simulated(disk).window(ms(1)).on_failure(OnDiskFailure::Wait);
    let buffer = Buffer::builder()
        .interval(Duration::from_secs(3600))
        .jitter(Duration::ZERO)
        .flush_concurrency(1)
        .journal(journal.patience(Duration::from_secs(5)))
        .start(Stuck { as_entries, is_in: is_in.into(), go: go.into() })
        .unwrap();
    (buffer, entered, let_go)
}

/// T2
#[test]
fn t2_a_commit_fails_after_the_rest_was_put_aside() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(Duration::from_secs(5)).unwrap(), 1);
    buffer.add_durable(&2, 10).unwrap();
    buffer.add_durable(&3, 10).unwrap();
    let report = buffer.shutdown(ms(300)).unwrap();
    assert_eq!(report.journaled, 2);
    // One operation fails. Then all is well.
    disk.fail_at(disk.operations(), Fault::NoSpace);
    let_go.send(true).unwrap();
    drop(let_go);
    let failures = buffer.stats().journal_failures;
    thread::sleep(ms(1000));
    eprintln!("failures {failures} -> {}", buffer.stats().journal_failures);
    drop(buffer);
    thread::sleep(ms(500));
    disk.restart();
    let database = Database::default();
    let (next, _clock) = start(&disk, OnDiskFailure::Wait, &database);
    assert_eq!((next.total(&2), next.total(&3)), (Some(10), Some(10)), "{:?}", next.recovered());
}

/// T3: `handle_error` has a key that was given up alone; meanwhile the file is written anew, and then the power is cut.
fn in_hands(as_entries: bool) {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, as_entries);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(Duration::from_secs(5)).unwrap(), 1);
    disk.fail_at(disk.operations(), Fault::NoSpace);
    buffer.add_durable(&2, 10).unwrap();
    assert_eq!(buffer.stats().journal_failures, 1);
    disk.cut_power();
    disk.restart();
    std::mem::forget(buffer);
    let database = Database::default();
    database.be(Mood::Away);
    // `kill` leaves the lock: the next life starts with a copy of the file.
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    let recovered = next.recovered().unwrap();
    let (keys, total) = (recovered.keys, next.count(&1));
    std::mem::forget(let_go);
    std::mem::forget(next);
    assert_eq!(keys, 2, "{recovered:?} {total:?}");
}

#[test]
fn t3_a_batch_in_the_hands_of_handle_error() {
    in_hands(false);
}

#[test]
fn t3_a_single_entry_in_the_hands_of_handle_error() {
    in_hands(true);
}

#[test]
fn t3_a_recovered_one_in_the_hands_of_handle_error() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(Duration::from_secs(5)).unwrap(), 1);
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    std::mem::forget((buffer, let_go));
    let disk = copy;
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    assert_eq!(entered.recv_timeout(Duration::from_secs(5)).unwrap(), 1);
    disk.fail_at(disk.operations(), Fault::NoSpace);
    buffer.add_durable(&2, 10).unwrap();
    assert_eq!(buffer.stats().journal_failures, 1);
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    std::mem::forget((buffer, let_go));
    let database = Database::default();
    database.be(Mood::Away);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    let recovered = next.recovered().unwrap();
    std::mem::forget(next);
    assert_eq!(recovered.keys, 2, "{recovered:?}");
}

/// T4
#[test]
fn t4_ids_after_going_on() {
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

/// T5
#[test]
fn t5_a_batch_of_many_keys_and_a_sink_of_single_ones() {
    let place = Place::new();
    let database = Database::default();
    let life = place.begin(&database);
    database.be(Mood::Away);
    (0..4).for_each(|key| life.add(key, 1));
    life.pass(INTERVAL);
    life.buffer.shutdown(Duration::ZERO).unwrap();
    let path = life.path.clone();
    drop(life);
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let stored = Arc::clone(&seen);
    let clock = ManualClock::new();
    let buffer: SummingBuffer<u64, i64> = Buffer::builder()
        .journal(Journal::at(&path))
        .start_inline(
            move |key: &u64, _: &Sum<i64>| {
                stored.lock().unwrap().push(*key);
                Ok::<(), &str>(())
            },
            &clock,
        )
        .unwrap();
    assert_eq!(buffer.recovered().unwrap().keys, 4);
    buffer.shutdown(Duration::from_secs(60)).unwrap();
    let stats = buffer.stats();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3], "{stats:?}");
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

/// T6
#[test]
fn t6_an_insert_after_a_refused_one() {
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

/// T7
#[test]
fn t7_batches_that_the_file_had_are_sent_again() {
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

/// T8
#[test]
fn t8_control() {
    t8(false);
}

#[test]
fn t8_an_observer_that_calls_the_buffer_at_the_end() {
    t8(true);
}

fn t8(removes: bool) {
    struct Removes(Arc<OnceLock<WeakBuffer<u64, Sum<i64>>>>, bool);
    impl Observer for Removes {
        fn journal_failed(&self, _: &str, _: &JournalError) {
            if let Some(buffer) = self.0.get().and_then(WeakBuffer::upgrade) {
                if self.1 {
                    let _ = buffer.remove(&1);
                }
            }
        }
    }
    within(Duration::from_secs(10), move || {
        let (disk, clock) = (SimulatedDisk::new(1), ManualClock::new());
        let place = Arc::new(OnceLock::new());
        let buffer: SummingBuffer<u64, i64> = Buffer::builder()
            .observer(Removes(Arc::clone(&place), removes))
            .journal(Journal::at("journal").simulated(&disk).window(WINDOW))
            .start_inline(|_: &u64, _: &Sum<i64>| Err::<(), &str>("away"), &clock)
            .unwrap();
        let _ = place.set(buffer.downgrade());
        buffer.add(&1, 1).unwrap();
        break_down(&disk);
        let _ = buffer.shutdown(Duration::ZERO);
    });
}

/// T9
struct Panics(Arc<std::sync::atomic::AtomicBool>);

impl Codec<u64, Heavy> for Panics {
    fn encode_key(&self, key: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Bytes.encode_key(key, out)
    }
    fn decode_key(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        Bytes.decode_key(bytes)
    }
    fn encode_data(&self, data: &Heavy, out: &mut Vec<u8>) -> Result<(), CodecError> {
        assert!(!self.0.load(std::sync::atomic::Ordering::Relaxed), "no");
        Bytes.encode_data(data, out)
    }
    fn decode_data(&self, bytes: &[u8]) -> Result<Heavy, CodecError> {
        Bytes.decode_data(bytes)
    }
}

#[test]
fn t9_a_codec_that_panics_while_the_file_is_written_anew() {
    let (disk, panics) = (SimulatedDisk::new(1), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let codec = Panics(Arc::clone(&panics));
    let journal = Journal::with_codec("journal", codec).simulated(&disk).window(ms(1)).patience(Duration::from_secs(2));
    let buffer: Buffer<u64, Heavy> = Buffer::builder()
        .interval(Duration::from_secs(3600))
        .drop_timeout(Duration::ZERO)
        .journal(journal.on_failure(OnDiskFailure::Wait))
        .start(|_: &u64, _: &Heavy| Err::<(), &str>("away"))
        .unwrap();
    buffer.insert_durable(1, 1).unwrap();
    buffer.flush(&1);
    thread::sleep(ms(200));
    panics.store(true, std::sync::atomic::Ordering::Relaxed);
    buffer.insert(2, 1).unwrap();
    thread::sleep(ms(200));
    panics.store(false, std::sync::atomic::Ordering::Relaxed);
    thread::sleep(ms(1500));
    buffer.insert_durable(3, 1).unwrap();
}

/// T11
#[test]
fn t11_a_waker_under_the_assembly_lock() {
    use std::future::Future;
    use std::task::{Context, Wake, Waker};
    struct Removes(SummingBuffer<u64, i64>);
    impl Wake for Removes {
        fn wake(self: Arc<Self>) {
            let _ = self.0.remove(&9);
        }
    }
    within(Duration::from_secs(10), || {
        let disk = SimulatedDisk::new(1);
        let journal = Journal::at("journal").simulated(&disk).window(ms(1)).on_failure(OnDiskFailure::Wait);
        let buffer: SummingBuffer<u64, i64> = Buffer::builder()
            .interval(Duration::from_secs(3600))
            .journal(journal)
            .start(|_: &u64, _: &Sum<i64>| Ok::<(), &str>(()))
            .unwrap();
        buffer.add_durable(&1, 1).unwrap();
        break_down(&disk);
        buffer.add(&1, 1).unwrap();
        thread::sleep(ms(900));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let waker = Waker::from(Arc::new(Removes(buffer.clone())));
        let syncing = buffer.clone();
        let mut sync = Box::pin(async move { syncing.sync_async().await });
        assert!(sync.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        buffer.flush(&1);
        thread::sleep(ms(300));
        let _ = buffer.remove(&7);
        std::mem::forget((sync, buffer, waker));
    });
}

/// T10
#[test]
fn t10_two_batches_of_one_key() {
    use std::future::Future;
    use std::task::{Context, Wake, Waker};
    struct Blocks(Mutex<mpsc::Sender<()>>, Mutex<mpsc::Receiver<()>>);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().unwrap().send(());
            let _ = self.1.lock().unwrap().recv();
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let disk = SimulatedDisk::new(1);
    let (entered, is_in) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let (sink_entered, sink_is_in) = mpsc::channel();
    let sink_entered = Mutex::new(sink_entered);
    let journal = Journal::at("journal").simulated(&disk).window(ms(1)).on_failure(OnDiskFailure::Wait);
    let buffer: SummingBuffer<u64, i64> = Buffer::builder()
        .interval(Duration::from_secs(3600))
        .flush_concurrency(2)
        .journal(journal)
        .start(move |_: &u64, sum: &Sum<i64>| {
            if sum.0 == 10 {
                let _ = sink_entered.lock().unwrap().send(());
                thread::sleep(Duration::from_secs(3600));
            }
            Ok::<(), &str>(())
        })
        .unwrap();
    buffer.add_durable(&1, 1).unwrap();
    let waker = Waker::from(Arc::new(Blocks(entered.into(), go.into())));
    let waiting = buffer.clone();
    let mut waits = Box::pin(async move { waiting.flush_and_wait_async(&1, Duration::from_secs(60)).await });
    assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    is_in.recv_timeout(Duration::from_secs(5)).unwrap();
    // It is settled, and its flight is about to end.
    buffer.add(&1, 10).unwrap();
    buffer.flush(&1);
    sink_is_in.recv_timeout(Duration::from_secs(5)).unwrap();
    disk.fail_at(disk.operations(), Fault::NoSpace);
    buffer.add_durable(&1, 100).unwrap();
    assert_eq!(buffer.stats().journal_failures, 1);
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    std::mem::forget((buffer, let_go, waits, waker));
    let database = Database::default();
    let (next, clock) = start(&copy, OnDiskFailure::Wait, &database);
    let recovered = next.recovered().unwrap();
    clock.advance(INTERVAL * 10);
    let stats = next.stats();
    eprintln!("{recovered:?} {:?} total {}", stats, database.total(1));
    std::mem::forget(next);
    assert_eq!((stats.keys, stats.pending), (0, 0));
    assert_eq!(recovered.batches, 1, "{recovered:?}");
}

/// T13
#[test]
fn t13_one_who_waits_is_told_ok_and_the_data_is_handed_back() {
    let disk = SimulatedDisk::new(1);
    let (buffer, entered, let_go) = start_stuck(&disk, false);
    buffer.add_durable(&1, 1).unwrap();
    buffer.flush(&1);
    assert_eq!(entered.recv_timeout(Duration::from_secs(5)).unwrap(), 1);
    break_down(&disk);
    let waits = thread::spawn({
        let buffer = buffer.clone();
        move || buffer.add_durable(&2, 10)
    });
    thread::sleep(ms(100));
    let ended = buffer.shutdown(ms(300));
    disk.mend();
    let answer = waits.join().unwrap();
    let copy = SimulatedDisk::new(2);
    copy.write("journal", &disk.read("journal").unwrap());
    std::mem::forget((buffer, let_go));
    let database = Database::default();
    database.be(Mood::Away);
    let (next, _clock) = start(&copy, OnDiskFailure::Wait, &database);
    let found = next.total(&2);
    std::mem::forget(next);
    eprintln!("shutdown: {}; add_durable: {answer:?}; in the file: {found:?}", ended.is_err());
    assert!(answer.is_err() || found == Some(10));
}
