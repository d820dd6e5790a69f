//! Many buffers in one process, measured by the kernel: a new one is small, all share their threads, and at
//! rest there is none.
//!
//! One test, because it reads counters of the whole process.

#![cfg(target_os = "linux")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use write_behind::{Buffer, Sum, SummingBuffer};

const LIMIT: Duration = Duration::from_secs(120);
const BUFFERS: u64 = 1_000;
const KEYS: u64 = 10;

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number");
    pages * 4096
}

/// How many threads buffers have.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("the kernel tells");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "write-behind").count()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < patience, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_thousand_buffers_share_their_threads_and_have_none_at_rest() {
    let stored = Arc::new(AtomicI64::new(0));
    let start = |hibernate_after| -> SummingBuffer<u64, i64> {
        let stored = Arc::clone(&stored);
        let store = move |_: &u64, total: &Sum<i64>| {
            stored.fetch_add(total.0, Ordering::Relaxed);
            Ok::<(), std::io::Error>(())
        };
        let builder = Buffer::builder().interval(Duration::from_millis(20)).hibernate_after(hibernate_after);
        builder.start(store).expect("the settings are valid")
    };
    // What a process gets only once is there before anything is measured.
    start(Duration::ZERO).shutdown(LIMIT).expect("nothing is left");

    let before = resident();
    let buffers: Vec<_> = (0..BUFFERS).map(|_| start(Duration::from_millis(100))).collect();
    let each = (resident() - before) / BUFFERS;
    assert!(each <= 16 * 1024, "a new buffer takes {each} bytes");

    let mut most = 0;
    for buffer in &buffers {
        (0..KEYS).for_each(|key| buffer.add(&key, 1).expect("there is room"));
    }
    eventually("all is stored", || {
        most = most.max(threads());
        stored.load(Ordering::Relaxed) == (BUFFERS * KEYS) as i64
    });
    // Callbacks that do not block leave little to do for a second thread.
    assert!((1..100).contains(&most), "{most} threads");
    eventually("all come to rest", || buffers.iter().all(|buffer| buffer.stats().hibernating));
    eventually("no thread is left", || threads() == 0);
    println!(
        "{each} bytes each when new, {} at rest, at most {most} threads",
        (resident() - before) / BUFFERS
    );

    // They wake up as one alone does.
    buffers.iter().for_each(|buffer| buffer.increment(&7).expect("there is room"));
    eventually("all is stored", || stored.load(Ordering::Relaxed) == (BUFFERS * (KEYS + 1)) as i64);
    for buffer in buffers {
        let stats = buffer.stats();
        assert_eq!((stats.accepted, stats.balance()), (KEYS + 1, 0));
        buffer.shutdown(LIMIT).expect("nothing is left");
    }
}
