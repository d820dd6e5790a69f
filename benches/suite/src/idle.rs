//! What a buffer costs that has nothing to do, after a million keys have gone through it: wake-ups,
//! processor time and memory. Each is measured in a process of its own, which is this program once
//! more.

use std::fs;
use std::hint::black_box;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use write_behind::Observer;

use crate::child;
use crate::peers::{HandWritten, Peer, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::try_turns;

const FEW: usize = 10;
const HIBERNATING: &str = "write-behind, hibernating";
const HAND_WRITTEN: &str = "hand-written";
const FRESH: &str = "write-behind after 10 keys";
const FRESH_HAND_WRITTEN: &str = "hand-written after 10 keys";

/// What a child says, in the order in which it says it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Rest {
    switches: f64,
    micros: f64,
    resident_mib: f64,
    peak_mib: f64,
}

/// Who rests, and after how many keys.
type Contestant = (&'static str, &'static str, usize);

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let contestants: [Contestant; 4] = [
        (HIBERNATING, "write-behind", scale.million),
        (FRESH, "write-behind", FEW),
        (HAND_WRITTEN, "hand-written", scale.million),
        (FRESH_HAND_WRITTEN, "hand-written", FEW),
    ];
    let watch_ms = if scale.real { 5_000 } else { 200 };
    let turns = scale.turns.min(3);
    let children = try_turns(turns, &contestants, |(_, who, keys)| ask(who, *keys, watch_ms))?;
    let samples = |what: fn(&Rest) -> f64| {
        let peers = contestants.iter().zip(&children);
        peers.map(|((name, ..), turns)| (*name, turns.iter().map(what).collect())).collect()
    };
    let mut recording = Recording::new(scale, "idle", "in 5 s", HAND_WRITTEN);
    recording.add(&["context switches"], samples(|rest| rest.switches));
    recording.add(&["processor time in µs"], samples(|rest| rest.micros));
    recording.save()?;
    let mut recording = Recording::new(scale, "idle-memory", "MiB resident", FRESH);
    recording.add(&["at the peak"], samples(|rest| rest.peak_mib));
    recording.add(&["at rest"], samples(|rest| rest.resident_mib));
    recording.save()
}

fn ask(who: &str, keys: usize, watch_ms: u64) -> io::Result<Rest> {
    let text = child::ask(&["idle", who, &keys.to_string(), &watch_ms.to_string()])?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [switches, micros, resident_mib, peak_mib] => Ok(Rest { switches, micros, resident_mib, peak_mib }),
        _ => Err(io::Error::other(format!("{who}: {text}"))),
    }
}

/// Rests, and prints what that costs.
pub(crate) fn child(who: &str, keys: &str, watch_ms: &str) -> io::Result<()> {
    let keys = keys.parse().map_err(io::Error::other)?;
    let watch = Duration::from_millis(watch_ms.parse().map_err(io::Error::other)?);
    let Rest { switches, micros, resident_mib, peak_mib } = match who {
        "hand-written" => rest_hand_written(keys, watch),
        _ => rest_write_behind(keys, watch),
    };
    println!("{switches} {micros} {resident_mib} {peak_mib}");
    Ok(())
}

/// Wakes a thread up when the buffer has come to rest.
struct Wake(Thread);

impl Observer for Wake {
    fn hibernated(&self, _buffer: &str) {
        self.0.unpark();
    }
}

/// Nothing is looked at before the buffer rests. An allocator gives back only what nothing lies above: 32
/// bytes that a thread keeps from its first wait for a lock kept 15 MiB in every fifth run.
fn rest_write_behind(keys: usize, watch: Duration) -> Rest {
    let main = thread::current();
    let peer = WriteBehind::<u64, i64>::with(|builder| {
        let builder =
            builder.interval(Duration::from_millis(500)).hibernate_after(Duration::from_millis(200));
        builder.observer(Wake(main))
    });
    (0..keys as u64).for_each(|key| peer.0.add(&key, 1).expect("there is room"));
    let patience = Instant::now() + Duration::from_secs(60);
    while !peer.0.stats().hibernating {
        assert!(Instant::now() < patience, "it does not come to rest: {:?}", peer.0.stats());
        thread::park_timeout(Duration::from_secs(60));
    }
    // The main thread, and the buffer's until they are gone.
    while threads().len() > 1 {
        assert!(Instant::now() < patience, "its threads do not leave");
        thread::sleep(Duration::from_millis(10));
    }
    let rest = look_on(watch);
    let stats = peer.0.stats();
    assert_eq!((stats.flushed, stats.hibernating), (keys as u64, true));
    rest
}

/// Emptied by a thread that looks ten times a second, as one writes it by hand.
fn rest_hand_written(keys: usize, watch: Duration) -> Rest {
    let peer = Arc::new(HandWritten::<u64, i64>::new());
    let mut insert = peer.inserter(0);
    (0..keys as u64).for_each(|key| insert(&key, 1));
    let flushed = Arc::clone(&peer);
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(100));
            flushed.drain(1_000, |entries| _ = black_box(entries));
        }
    });
    thread::sleep(Duration::from_secs(1));
    look_on(watch)
}

/// Counts what happens in this time; memory is that at its end.
fn look_on(watch: Duration) -> Rest {
    let before = threads();
    thread::sleep(watch);
    let after = threads();
    let names = |threads: &[Task]| threads.iter().map(|thread| thread.id).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after), "the same threads");
    let sum = |threads: &[Task], what: fn(&Task) -> u64| -> u64 {
        threads.iter().filter(|thread| thread.id != process::id()).map(what).sum()
    };
    let grown = |what| (sum(&after, what) - sum(&before, what)) as f64;
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    Rest {
        switches: grown(|thread| thread.switches),
        micros: grown(|thread| thread.nanos) / 1e3,
        resident_mib: field(&status, "VmRSS:") as f64 / 1_024.0,
        peak_mib: field(&status, "VmHWM:") as f64 / 1_024.0,
    }
}

#[derive(Debug)]
struct Task {
    id: u32,
    /// Voluntary or not.
    switches: u64,
    /// Time on a processor.
    nanos: u64,
}

fn threads() -> Vec<Task> {
    let tasks = fs::read_dir("/proc/self/task").expect("the kernel tells");
    let thread = |task: io::Result<fs::DirEntry>| {
        let path = task.ok()?.path();
        // A thread may end between two looks.
        let status = fs::read_to_string(path.join("status")).ok()?;
        let times = fs::read_to_string(path.join("schedstat")).ok()?;
        Some(Task {
            id: path.file_name()?.to_str()?.parse().ok()?,
            switches: field(&status, "\nvoluntary_ctxt_switches:")
                + field(&status, "nonvoluntary_ctxt_switches:"),
            nanos: times.split(' ').next()?.parse().ok()?,
        })
    };
    let mut threads: Vec<Task> = tasks.filter_map(thread).collect();
    threads.sort_by_key(|thread| thread.id);
    threads
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.split_once(name).and_then(|(_, after)| after.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).expect("a field of the kernel's")
}
