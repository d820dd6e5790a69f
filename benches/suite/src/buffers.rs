//! Many buffers in one process: threads, memory, lateness. Each number of them is measured in a process of its
//! own. `BEFORE` may name this program as it was built at an earlier commit, to be measured beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use write_behind::{Buffer, Min};

use crate::child;
use crate::quantiles::{histogram, quantiles};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::try_turns;

const KEYS: u64 = 10;
const OWN: &str = "write-behind";
const BEFORE: &str = "a thread for each";
/// With more buffers than this the system refuses the threads, and the process dies.
const BEFORE_MOST: u64 = 1_000;
/// What a child says, in the order in which it says it.
const CASES: [&str; 8] =
    ["threads at most", "threads at rest", "new", "ten keys in each", "at rest", "p50", "p99", "max"];

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let before = std::env::var_os("BEFORE").map(PathBuf::from);
    let contestants: Vec<_> = [(OWN, Some(own)), (BEFORE, before)].into_iter().filter_map(both).collect();
    let mut threads = Recording::new(scale, "buffers-threads", "threads", OWN);
    let mut memory = Recording::new(scale, "buffers-memory", "KiB for each buffer", OWN);
    let mut lateness = Recording::new(scale, "buffers-lateness", "ms after the deadline", OWN);
    let counts = if scale.real { [1, 100, 1_000, 10_000] } else { [1, 2, 3, 4] };
    for count in counts {
        let name = format!("{count} buffers");
        let turns = scale.turns.min(5);
        let contestants = &contestants[..if count > BEFORE_MOST { 1 } else { contestants.len() }];
        let said = try_turns(turns, contestants, |(_, program)| ask(program, count, scale))?;
        for (place, case) in CASES.into_iter().enumerate() {
            let recording = match place {
                0..2 => &mut threads,
                2..5 => &mut memory,
                _ => &mut lateness,
            };
            let of_each = |turns: &Vec<[f64; 8]>| turns.iter().map(|said| said[place]).collect();
            let samples = contestants.iter().zip(&said).map(|((peer, _), turns)| (*peer, of_each(turns)));
            recording.add(&[&name, case], samples.collect());
        }
    }
    threads.save()?;
    memory.save()?;
    lateness.save()
}

fn both<T, U>((first, second): (T, Option<U>)) -> Option<(T, U)> {
    Some((first, second?))
}

fn ask(program: &Path, count: u64, scale: Scale) -> io::Result<[f64; 8]> {
    let interval_ms = if scale.real { 2_000 } else { 50 };
    let text = child::ask_of(program, &["buffers", &count.to_string(), &interval_ms.to_string()])?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().map_err(|_| io::Error::other(text))
}

/// Fills so many buffers and empties them, and prints what that takes.
pub(crate) fn child(count: &str, interval_ms: &str) -> io::Result<()> {
    let count: u64 = count.parse().map_err(io::Error::other)?;
    let interval = Duration::from_millis(interval_ms.parse().map_err(io::Error::other)?);
    let began = Instant::now();
    let late = Arc::new(Mutex::new(histogram()));
    let start = || -> Buffer<u64, Min<u64>> {
        let late = Arc::clone(&late);
        // What is kept is when the key was inserted.
        let store = move |_: &u64, inserted: &Min<u64>| {
            let due = Duration::from_nanos(inserted.0) + interval;
            let nanos = began.elapsed().saturating_sub(due).as_nanos() as u64;
            late.lock().expect("nobody panics").record(nanos).map_err(io::Error::other)
        };
        let builder = Buffer::builder().interval(interval).hibernate_after(interval);
        builder.start(store).expect("valid settings")
    };
    // What a process gets only once is there before anything is measured.
    start().shutdown(interval).map_err(|_| io::Error::other("nothing was inserted"))?;
    let empty = Status::now();
    let buffers: Vec<_> = (0..count).map(|_| start()).collect();
    let new = Status::now();
    // Spread over an interval, so that deadlines are spread too.
    let inserts = count * KEYS;
    let pace = interval.as_secs_f64() / inserts as f64;
    let first = Instant::now();
    for number in 0..inserts {
        let at = Duration::from_secs_f64(number as f64 * pace);
        thread::sleep(at.saturating_sub(first.elapsed()));
        let buffer = &buffers[(number % count) as usize];
        buffer.insert(number / count, began.elapsed().as_nanos() as u64).expect("there is room");
    }
    let full = Status::now();
    let mut most = full.threads;
    while buffers.iter().any(|buffer| !buffer.stats().hibernating) {
        most = most.max(Status::now().threads);
        thread::sleep(Duration::from_millis(20));
    }
    // Threads that are told to leave need a moment for it.
    thread::sleep(Duration::from_millis(200));
    let rest = Status::now();
    let flushed: u64 = buffers.iter().map(|buffer| buffer.stats().flushed).sum();
    assert_eq!(flushed, inserts);
    let each = |status: &Status| (status.resident_kib - empty.resident_kib) / count as f64;
    let [p50, p99, _, max] = quantiles(&late.lock().expect("nobody panics"), 1e6);
    // Without the main thread.
    let (most, resting) = (most - 1, rest.threads - 1);
    println!("{most} {resting} {} {} {} {p50} {p99} {max}", each(&new), each(&full), each(&rest));
    Ok(())
}

struct Status {
    threads: u64,
    resident_kib: f64,
}

impl Status {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
        let field = |name| {
            let value = status.split_once(name).and_then(|(_, after)| after.split_whitespace().next());
            value.and_then(|value| value.parse::<u64>().ok()).expect("a field of the kernel's")
        };
        Status { threads: field("\nThreads:"), resident_kib: field("VmRSS:") as f64 }
    }
}
