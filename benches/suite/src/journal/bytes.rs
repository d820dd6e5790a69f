//! How much is written to the disk for an insert. Inserts come at a fixed rate, for how many of them share a row
//! depends on it.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::insert::WINDOWS;
use super::log::Log;
use super::{Subject, few_turns, folder};
use crate::keys::Spread;
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::try_turns;

/// Inserts in a second.
const RATE: usize = 20_000;
const STEP: Duration = Duration::from_millis(1);
const BASE: &str = "log, an fsync per insert";
const GROUPED: &str = "log, an fsync every 50 ms";
/// As each of them writes as much, so many are enough of a log that syncs each.
const SINGLES: usize = 1_000;

/// What this process has written so far.
#[derive(Clone, Copy)]
struct Written {
    /// By its calls.
    handed_over: u64,
    /// In pages that had to go to the disk: once, also if they were written twice before they went.
    pages: u64,
}

enum Contestant {
    Journal(Subject),
    Log(Log),
    Grouped(Log),
}

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    // There is hardly any difference between them.
    let scale = Scale { turns: scale.turns.min(2), ..few_turns(scale) };
    let mut recording = Recording::new(scale, "journal-bytes", "bytes per insert", BASE);
    for (spread_name, spread) in Spread::all(scale.million) {
        let folder = folder::make(scale)?;
        let mut contestants = Vec::new();
        for (name, window) in WINDOWS {
            let subject = Subject::journaled(scale, window, |builder| builder)?;
            subject.fill(spread.different());
            subject.settle()?;
            contestants.push((name, Contestant::Journal(subject)));
        }
        contestants.push((BASE, Contestant::Log(Log::create(&folder.path().join("log"))?)));
        contestants.push((GROUPED, Contestant::Grouped(Log::create(&folder.path().join("grouped"))?)));
        let count = if scale.real { RATE } else { RATE / 20 };
        let keys: Vec<u64> = spread.draw(count, 0);
        let samples = try_turns(scale.turns, &contestants, |(_, contestant)| measure(contestant, &keys))?;
        let names = || contestants.iter().map(|(name, _)| *name);
        for (place, what) in ["handed to the file", "pages that reach the disk"].into_iter().enumerate() {
            let of = |turns: &Vec<[f64; 2]>| turns.iter().map(|turn| turn[place]).collect();
            recording.add(&[what, spread_name], names().zip(samples.iter().map(of)).collect());
        }
    }
    recording.save()
}

/// Bytes per insert.
fn measure(contestant: &Contestant, keys: &[u64]) -> io::Result<[f64; 2]> {
    let before = Written::by_now()?;
    let inserts = match contestant {
        Contestant::Journal(subject) => {
            paced(keys, STEP, |keys| {
                keys.iter().for_each(|key| subject.buffer.add(key, 1).expect("there is room"));
                Ok(())
            })?;
            subject.settle()?;
            keys.len()
        }
        Contestant::Log(log) => {
            let keys = &keys[..SINGLES.min(keys.len())];
            keys.iter().try_for_each(|&key| log.append(key))?;
            keys.len()
        }
        Contestant::Grouped(log) => {
            paced(keys, WINDOWS[1].1, |keys| log.append_all(keys))?;
            keys.len()
        }
    };
    let after = Written::by_now()?;
    let per_insert = |before, after| (after - before) as f64 / inserts as f64;
    Ok([per_insert(before.handed_over, after.handed_over), per_insert(before.pages, after.pages)])
}

/// At the fixed rate, all of a step together.
fn paced(keys: &[u64], step: Duration, mut insert: impl FnMut(&[u64]) -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    let count = (RATE as f64 * step.as_secs_f64()) as usize;
    for (place, keys) in (1..).zip(keys.chunks(count)) {
        insert(keys)?;
        thread::sleep((start + step * place).saturating_duration_since(Instant::now()));
    }
    Ok(())
}

impl Written {
    fn by_now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/io")?;
        let field = |name: &str| -> io::Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let value = value.and_then(|value| value.trim().parse().ok());
            value.ok_or_else(|| io::Error::other("the kernel does not say what was written"))
        };
        Ok(Written { handed_over: field("wchar:")?, pages: field("write_bytes:")? })
    }
}
