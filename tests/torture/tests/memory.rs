//! The sink is down, and inserts go on: memory stays where it was when the buffer held all that its keys can hold. That is of
//! each key a batch of its own, which waits for its next attempt, and newer data.
//!
//! `WRITE_BEHIND_INSERTS` says how many inserts there are (default a million), into a tenth as many keys, or a million if
//! those are more. One test, because the kernel counts the whole process.

#![cfg(target_os = "linux")]

#[path = "support/chance.rs"]
mod chance;

use std::fs;
use std::thread;
use std::time::Duration;

use chance::{Random, from_environment, seed};
use write_behind::{Buffer, InsertErrorKind, Sum, SummingBuffer};

const MOST_KEYS: u64 = 1_000_000;

/// In KiB, as the kernel says it: `VmRSS`, or `VmHWM` for the most there was.
fn kernel(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number")
}

#[test]
fn while_the_sink_is_down_memory_does_not_grow() {
    let inserts = from_environment("WRITE_BEHIND_INSERTS", 1_000_000);
    let keys = MOST_KEYS.min(inserts / 10);
    let empty = kernel("VmRSS");
    let counters: SummingBuffer<u64, i64> = Buffer::builder()
        .interval(Duration::from_millis(100))
        .max_keys(keys)
        .drop_timeout(Duration::ZERO)
        .start(|_: &u64, _: &Sum<i64>| Err("the database is away"))
        .unwrap();
    let all_keys = || (0..keys).for_each(|key| counters.add(&key, 1).expect("there is room"));
    all_keys();
    let pending = kernel("VmHWM");
    while counters.stats().in_flight < keys {
        thread::yield_now();
    }
    all_keys();
    let full = kernel("VmHWM");
    let mut random = Random(seed());
    let (mut accepted, mut refused) = (2 * keys, 0);
    for _ in 2 * keys..inserts {
        // One in ten has no room.
        let key = random.below(keys + keys / 9);
        match counters.add(&key, 1) {
            Ok(()) => accepted += 1,
            Err(error) => {
                assert!(key >= keys && error.kind == InsertErrorKind::Full, "{key}: {error}");
                refused += 1;
            }
        }
    }
    let most = kernel("VmHWM");
    let stats = counters.stats();
    assert_eq!((stats.balance(), stats.accepted, stats.keys), (0, accepted, keys), "{stats:?}");
    assert!(refused > 0 && stats.failures > 0 && stats.flushed == 0, "{stats:?}");
    println!("counted: {} inserts, {refused} of them refused", accepted + refused);
    println!(
        "resident KiB: {empty} empty, {pending} all keys pending, {full} in flight as well, {most} at most"
    );
    assert!(most - empty <= (full - empty) + (full - empty) / 10, "{empty} KiB, {full} full, {most} at most");
}
