//! A process is killed while it inserts without waiting for the disk: what is lost was accepted within the window, and
//! while up to two commits lasted.
//!
//! `WRITE_BEHIND_KILLS` says how often (default 3), `WRITE_BEHIND_MARGIN_MS` what commits and the scheduler may add to the
//! window (default 30 s: a machine that does something else as well proves nothing).

#![cfg(unix)]

#[path = "support/chance.rs"]
mod chance;

use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use chance::{Random, from_environment, seed};
use write_behind::journal::Journal;
use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Last, ManualClock};

const JOURNAL: &str = "WRITE_BEHIND_TORTURE_JOURNAL";
const INTERVAL_MS: &str = "WRITE_BEHIND_TORTURE_INTERVAL_MS";
const WINDOW: Duration = Duration::from_millis(50);
const KEYS: u64 = 64;

/// What the process that is killed says: what it has accepted or delivered, as a number that grows, and when.
#[derive(Clone, Copy)]
struct Line {
    is_delivered: bool,
    number: u64,
    at: Duration,
}

const LINE: usize = 17;

impl Line {
    fn now(is_delivered: bool, number: u64) -> Self {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Line { is_delivered, number, at }
    }

    fn bytes(self) -> [u8; LINE] {
        let mut bytes = [u8::from(self.is_delivered); LINE];
        bytes[1..9].copy_from_slice(&self.number.to_le_bytes());
        bytes[9..].copy_from_slice(&(self.at.as_nanos() as u64).to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight"));
        Line { is_delivered: bytes[0] == 1, number: number(1), at: Duration::from_nanos(number(9)) }
    }
}

/// Where the process that is killed writes to: a pipe, which survives it.
#[derive(Clone)]
struct Told(Arc<Mutex<std::io::Stderr>>);

impl Told {
    fn tell(&self, line: Line) {
        // A line is shorter than what a pipe takes as a whole.
        let mut pipe = self.0.lock().unwrap();
        pipe.write_all(&line.bytes()).and_then(|()| pipe.flush()).expect("somebody reads");
    }
}

impl DataBuffer<u64, Last<u64>> for Told {
    fn handle_flush(&self, _: &u64, data: &Last<u64>, _: &FlushContext) -> Result<(), FlushError> {
        self.tell(Line::now(true, data.0));
        Ok(())
    }
}

/// What is killed. Does nothing where nobody has started it as a process of its own.
#[test]
fn another_process() {
    let Some(path) = env::var_os(JOURNAL).map(PathBuf::from) else { return };
    let told = Told(Arc::new(Mutex::new(std::io::stderr())));
    let buffer = Buffer::builder()
        .interval(Duration::from_millis(from_environment(INTERVAL_MS, 20)))
        .journal(Journal::at(path).window(WINDOW))
        .start(told.clone())
        .unwrap();
    let mut random = Random(seed());
    for number in 1.. {
        buffer.insert(number % KEYS, number).unwrap();
        told.tell(Line::now(false, number));
        // In bursts, with pauses in which the journal comes to rest.
        if random.below(2_000) == 0 {
            thread::park_timeout(Duration::from_millis(random.below(80)));
        }
    }
}

fn spawn(journal: &Path, interval_ms: u64, seed: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "another_process", "--nocapture"])
        .env(JOURNAL, journal)
        .env(INTERVAL_MS, interval_ms.to_string())
        .env("WRITE_BEHIND_SEED", seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it said until it was killed after that time.
fn live(journal: &Path, interval_ms: u64, seed: u64, time: Duration) -> (Vec<Line>, Duration) {
    let mut child = spawn(journal, interval_ms, seed);
    let mut pipe = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes).unwrap()
    });
    thread::park_timeout(time);
    let killed = Line::now(false, 0).at;
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = reader.join().unwrap();
    (bytes.chunks_exact(LINE).map(Line::read).collect(), killed)
}

/// The newest of each key that is in the journal.
fn recovered(journal: &Path) -> Vec<u64> {
    let nobody = |_: &u64, _: &Last<u64>| Err("away");
    let opened = Buffer::builder()
        .drop_timeout(Duration::ZERO)
        .journal(Journal::at(journal).window(WINDOW))
        .start_inline(nobody, &ManualClock::new());
    let buffer = opened.unwrap();
    let mut newest = vec![0; KEYS as usize];
    for (key, peek) in buffer.snapshot() {
        let all = peek.in_flight.iter().map(|(data, _)| data).chain(&peek.pending);
        newest[key as usize] = all.map(|data| data.0).max().unwrap_or(0);
    }
    newest
}

/// For how long what is lost had been accepted when the process died.
fn lost(lines: &[Line], mut kept: Vec<u64>, killed: Duration) -> Duration {
    for line in lines.iter().filter(|line| line.is_delivered) {
        let newest = &mut kept[(line.number % KEYS) as usize];
        *newest = line.number.max(*newest);
    }
    let accepted = lines.iter().filter(|line| !line.is_delivered);
    let lost = accepted.filter(|line| line.number > kept[(line.number % KEYS) as usize]);
    lost.map(|line| killed.saturating_sub(line.at)).max().unwrap_or_default()
}

#[test]
fn what_a_kill_loses_was_accepted_within_the_window() {
    let kills = from_environment("WRITE_BEHIND_KILLS", 3);
    let margin = Duration::from_millis(from_environment("WRITE_BEHIND_MARGIN_MS", 30_000));
    let mut random = Random(seed());
    let (mut losses, mut accepted) = (Vec::new(), 0);
    for kill in 0..kills {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let interval_ms = [20, 3_600_000][(kill % 2) as usize];
        let time = Duration::from_millis(40 + random.below(160));
        let (lines, killed) = live(&journal, interval_ms, random.next(), time);
        // It may be killed before it has begun, and is not counted then.
        if lines.is_empty() {
            continue;
        }
        accepted += lines.len();
        losses.push(lost(&lines, recovered(&journal), killed));
    }
    losses.sort();
    assert!(!losses.is_empty(), "none of them got to work");
    let kills = losses.len();
    let (worst, median, hundredth) = (losses[kills - 1], losses[kills / 2], losses[kills - 1 - kills / 100]);
    println!("counted: {kills} kills, {accepted} inserts");
    println!(
        "what is lost had been accepted {median:?} before; {hundredth:?} in one of 100; {worst:?} at most"
    );
    assert!(worst <= WINDOW + margin, "what was lost had been accepted {worst:?} before");
}
