//! Contract line 20, measured by the kernel: a buffer at rest costs nothing.
//!
//! One test, because it reads counters of the whole process.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Observer, Sum, SummingBuffer};

const LIMIT: Duration = Duration::from_secs(600);
const KEYS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// The name of the threads that buffers share.
const THREAD: &str = "write-behind";

/// A worker thread has been seen.
static WORKED: AtomicBool = AtomicBool::new(false);

struct Nowhere;

impl DataBuffer<u64, Sum<i64>> for Nowhere {
    fn handle_flush(&self, _key: &u64, _total: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        if thread::current().name() == Some(THREAD) {
            WORKED.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Event {
    Hibernated,
    Woke,
}

struct Tell(Sender<Event>);

impl Observer for Tell {
    fn hibernated(&self, _buffer: &str) {
        let _ = self.0.send(Event::Hibernated);
    }

    fn woke(&self, _buffer: &str) {
        let _ = self.0.send(Event::Woke);
    }
}

/// Resident memory in bytes. Read without allocating: a small block allocated at the peak would hold
/// up everything below it in the allocator's heap.
fn resident() -> u64 {
    let mut text = [0; 128];
    let read = fs::File::open("/proc/self/statm").and_then(|mut statm| statm.read(&mut text));
    let text = std::str::from_utf8(&text[..read.expect("the kernel tells")]).expect("digits");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// How many threads buffers have.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("the kernel tells");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == THREAD).count()
}

#[test]
fn c20_hibernation_makes_no_wake_ups_and_gives_threads_and_memory_back() {
    let (events, told) = channel();
    let counters: SummingBuffer<u64, i64> = Buffer::builder()
        .name("quiet")
        .interval(Duration::from_millis(500))
        .hibernate_after(Duration::from_millis(200))
        .max_keys(2 * KEYS)
        .observer(Tell(events))
        .start(Nowhere)
        .expect("the settings are valid");
    // Once around with a hundredth, so that what a process gets only once (code that is paged in, the
    // allocator's own pools, what threads keep for themselves) is there before it is measured.
    (0..KEYS / 100).for_each(|key| counters.add(&key, 1).expect("there is room"));
    counters.flush_all_and_wait(LIMIT).expect("nothing fails");
    assert_eq!(told.recv_timeout(LIMIT), Ok(Event::Hibernated));
    let before = resident();

    for key in 0..KEYS {
        counters.add(&key, 1).expect("there is room");
    }
    let peak = resident();
    assert_eq!(told.recv_timeout(LIMIT), Ok(Event::Woke));
    assert_eq!(told.recv_timeout(LIMIT), Ok(Event::Hibernated));
    let after = resident();
    let stats = counters.stats();
    assert_eq!((stats.flushed, stats.keys, stats.weight), (KEYS + KEYS / 100, 0, 0));
    assert!(stats.hibernating);
    assert!(WORKED.load(Ordering::Relaxed), "there was work for workers");
    assert!(peak > before + 10 * MIB, "a million keys take memory: {before} before, {peak} at the peak");
    assert!(
        after <= before + before / 5 + 2 * MIB,
        "{} KiB before, {} KiB at the peak, {} KiB at rest",
        before / 1024,
        peak / 1024,
        after / 1024
    );
    println!("resident KiB: {} before, {} peak, {} at rest", before / 1024, peak / 1024, after / 1024);

    let patience = Instant::now() + LIMIT;
    while threads() > 0 && Instant::now() < patience {
        thread::yield_now(); // until the kernel has taken them away
    }
    assert_eq!(threads(), 0, "nobody is left who could wake up");
    assert_eq!(told.recv_timeout(Duration::from_secs(2)), Err(RecvTimeoutError::Timeout), "it woke up");
    assert_eq!(threads(), 0);

    // The next insert is as durable as any other.
    counters.add(&7, 1).expect("there is room");
    assert_eq!(told.recv_timeout(LIMIT), Ok(Event::Woke));
    assert_eq!(told.recv_timeout(LIMIT), Ok(Event::Hibernated));
    assert_eq!(counters.stats().flushed, KEYS + KEYS / 100 + 1);
}
