//! How long a start takes that finds a million keys in its journal, beside reading them from elsewhere.

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use write_behind::SummingBuffer;

use super::sqlite::{self, Sqlite};
use super::{WINDOW, await_end, few_turns, folder, journal, log};
use crate::peers::{Nowhere, builder};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::try_turns;

type Measure<'a> = Box<dyn Fn() -> io::Result<Duration> + 'a>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let scale = few_turns(scale);
    let keys = scale.million as u64;
    let mut recording = Recording::new(scale, "journal-recovery", "ms", "a log of records");
    let folder = folder::make(scale)?;
    let place = |name: &str| folder.path().join(name);
    let (shut_down, killed) = make_journals(folder.path(), keys)?;
    log::write(&place("log"), keys)?;
    Sqlite::create(&place("sqlite")).and_then(|sqlite| sqlite.fill(keys)).map_err(io::Error::other)?;
    let contestants: [(&'static str, Measure<'_>); 4] = [
        ("journal, after a shutdown", Box::new(|| start(&shut_down, &place("copy"), keys))),
        ("journal, after a kill", Box::new(|| start(&killed, &place("copy"), keys))),
        ("a log of records", Box::new(|| read_log(&place("log"), keys))),
        ("SQLite", Box::new(|| read_sqlite(&place("sqlite"), keys))),
    ];
    let samples = try_turns(scale.turns, &contestants, |(_, measure)| {
        Ok::<f64, io::Error>(measure()?.as_secs_f64() * 1e3)
    })?;
    recording.add(&["a million keys"], contestants.iter().map(|(name, _)| *name).zip(samples).collect());
    recording.save()
}

/// As a process leaves them that has shut down, and one that was killed when nothing was being written.
fn make_journals(folder: &Path, keys: u64) -> io::Result<(PathBuf, PathBuf)> {
    let (path, killed) = (folder.join("journal"), folder.join("killed"));
    let buffer = builder().journal(journal(&path, WINDOW)).start(Nowhere).map_err(io::Error::other)?;
    (0..keys).for_each(|key| buffer.add(&key, 1).expect("there is room"));
    buffer.sync().map_err(io::Error::other)?;
    fs::copy(&path, &killed)?;
    assert_eq!(end(&buffer, &path)?, keys, "all of it stays");
    Ok((path, killed))
}

/// Says what stays in the journal, when nobody has it open any more.
fn end(buffer: &SummingBuffer<u64, i64>, journal: &Path) -> io::Result<u64> {
    let report = buffer.shutdown(Duration::ZERO).map_err(|error| io::Error::other(error.to_string()))?;
    await_end(journal)?;
    Ok(report.journaled)
}

/// Of a copy, for a start changes the file. What was copied is in the system's cache, as all that is read here.
fn start(journal_file: &Path, copy: &Path, keys: u64) -> io::Result<Duration> {
    fs::copy(journal_file, copy)?;
    fs::File::open(copy)?.sync_all()?;
    let builder = builder().drop_timeout(Duration::ZERO).journal(journal(copy, WINDOW));
    let begun = Instant::now();
    let buffer = builder.start(Nowhere).map_err(io::Error::other)?;
    let took = begun.elapsed();
    let found = buffer.recovered().expect("it has a journal");
    assert_eq!((found.keys, found.inserts), (keys, keys));
    end(&buffer, copy)?;
    Ok(took)
}

fn read_log(path: &Path, keys: u64) -> io::Result<Duration> {
    let begun = Instant::now();
    let sums = log::read(path)?;
    let took = begun.elapsed();
    assert_eq!(black_box(sums).len() as u64, keys);
    Ok(took)
}

fn read_sqlite(path: &Path, keys: u64) -> io::Result<Duration> {
    let begun = Instant::now();
    let sums = sqlite::read(path).map_err(io::Error::other)?;
    let took = begun.elapsed();
    assert_eq!(black_box(sums).len() as u64, keys);
    Ok(took)
}
