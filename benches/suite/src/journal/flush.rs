//! What it costs a flush that its batches are on disk before they are sent: by key where there are many, and as a delay
//! where there is one.

use std::io;
use std::time::{Duration, Instant};

use write_behind::{Builder, Sum};

use super::{PATIENCE, Subject, WINDOW, few_turns};
use crate::record::{Recording, quartiles};
use crate::scale::Scale;
use crate::turns::try_turns;

const BATCH: usize = 1_000;
const BASE: &str = "write-behind";
const JOURNALED: &str = "with a journal";

type Make = fn(Scale) -> io::Result<Subject>;

const CONTESTANTS: [(&str, Make); 2] = [
    (BASE, |_| Ok(Subject::plain(settings))),
    (JOURNALED, |scale| Subject::journaled(scale, WINDOW, settings)),
];

fn settings(builder: Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>> {
    builder.flush_concurrency(1).max_batch_keys(BATCH)
}

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let scale = few_turns(scale);
    let mut recording = Recording::new(scale, "journal-flush", "see each case", BASE);
    let names = || CONTESTANTS.iter().map(|(name, _)| *name);
    // A turn takes ten times as long as others.
    let many =
        try_turns(scale.turns.min(3), &CONTESTANTS, |(_, make)| flush_many(&make(scale)?, scale.million))?;
    recording.add(&["ns per key", "a million, batches of 1000"], names().zip(many).collect());
    let times = if scale.real { 200 } else { 10 };
    let one = try_turns(scale.turns, &CONTESTANTS, |(_, make)| flush_one(&make(scale)?, times))?;
    recording.add(&["ms", "one key"], names().zip(one).collect());
    recording.save()
}

/// Nanoseconds per key, of keys that the journal has.
fn flush_many(subject: &Subject, keys: usize) -> io::Result<f64> {
    subject.fill(keys);
    subject.settle()?;
    let start = Instant::now();
    subject.buffer.flush_all_and_wait(PATIENCE).map_err(io::Error::other)?;
    let nanos = start.elapsed().as_secs_f64() * 1e9 / keys as f64;
    let stats = subject.buffer.stats();
    assert_eq!(stats.flushed, keys as u64);
    assert!(stats.flushes >= stats.flushed.div_ceil(BATCH as u64), "no batch is larger");
    Ok(nanos)
}

/// The median in milliseconds, from the request until the key is settled. It was inserted just before.
fn flush_one(subject: &Subject, times: u64) -> io::Result<f64> {
    let once = |key| -> io::Result<f64> {
        subject.buffer.add(&key, 1).expect("there is room");
        let start = Instant::now();
        subject.buffer.flush_and_wait(&key, Duration::from_secs(60)).map_err(io::Error::other)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let took = (0..times).map(once).collect::<io::Result<Vec<f64>>>()?;
    Ok(quartiles(&took)[1])
}
