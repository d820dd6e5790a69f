//! The sink is down, and inserts go on: memory stays where it was when the buffer had become full.
//!
//! `WRITE_BEHIND_INSERTS` says how many inserts there are (default 3 million), into a million keys. One test, because
//! the kernel counts the whole process.

#![cfg(target_os = "linux")]

#[path = "support/chance.rs"]
mod chance;

use std::fs;
use std::time::Duration;

use chance::{Random, from_environment, seed};
use write_behind::{Buffer, InsertErrorKind, Sum, SummingBuffer};

const KEYS: u64 = 1_000_000;

/// In KiB, as the kernel says it: `VmRSS`, or `VmHWM` for the most there was.
fn kernel(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number")
}

#[test]
fn while_the_sink_is_down_memory_does_not_grow() {
    let inserts = from_environment("WRITE_BEHIND_INSERTS", 3_000_000);
    let empty = kernel("VmRSS");
    let counters: SummingBuffer<u64, i64> = Buffer::builder()
        .interval(Duration::from_millis(100))
        .max_keys(KEYS)
        .drop_timeout(Duration::ZERO)
        .start(|_: &u64, _: &Sum<i64>| Err("the database is away"))
        .unwrap();
    (0..KEYS).for_each(|key| counters.add(&key, 1).expect("there is room"));
    let full = kernel("VmHWM");
    let mut random = Random(seed());
    let (mut accepted, mut refused) = (KEYS, 0);
    for _ in KEYS..inserts {
        // One in ten has no room.
        let key = random.below(KEYS + KEYS / 9);
        match counters.add(&key, 1) {
            Ok(()) => accepted += 1,
            Err(error) => {
                assert!(key >= KEYS && error.kind == InsertErrorKind::Full, "{key}: {error}");
                refused += 1;
            }
        }
    }
    let most = kernel("VmHWM");
    let stats = counters.stats();
    assert_eq!((stats.balance(), stats.accepted, stats.keys), (0, accepted, KEYS), "{stats:?}");
    assert!(refused > 0 && stats.failures > 0 && stats.flushed == 0, "{stats:?}");
    println!(
        "counted: {} inserts; resident KiB: {empty} empty, {full} full, {most} at most",
        accepted + refused
    );
    assert!(most - empty <= (full - empty) + (full - empty) / 10, "{empty} KiB, {full} full, {most} at most");
}
