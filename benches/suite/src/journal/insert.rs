//! One insert into a buffer with a journal, while that is written, beside one into a buffer without.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Subject, few_turns};
use crate::keys::Spread;
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::{time_threads, try_turns};

const THREADS: [usize; 2] = [1, 2];
const BASE: &str = "write-behind";
/// How often the clock is looked at.
const CHUNK: usize = 1_000;

pub(super) const WINDOWS: [(&str, Duration); 3] = [
    ("journal, 5 ms", Duration::from_millis(5)),
    ("journal, 50 ms", Duration::from_millis(50)),
    ("journal, 500 ms", Duration::from_millis(500)),
];

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let scale = few_turns(scale);
    let mut recording = Recording::new(scale, "journal-insert", "ns per insert and thread", BASE);
    for (spread_name, spread) in Spread::all(scale.million) {
        let subjects = subjects(scale)?;
        for (_, subject) in &subjects {
            subject.fill(spread.different());
            subject.settle()?;
        }
        for threads in THREADS {
            let keys: Vec<Vec<u64>> = (0..threads).map(|thread| spread.draw(scale.million, thread)).collect();
            let samples = try_turns(scale.turns, &subjects, |(_, subject)| {
                let nanos = time(subject, &keys, lasting(scale));
                // Nobody else's turn is to pay for what this one has left to write.
                subject.settle()?;
                Ok::<f64, io::Error>(nanos)
            })?;
            let case = ["u64", spread_name, &threads.to_string()];
            recording.add(&case, subjects.iter().map(|(name, _)| *name).zip(samples).collect());
        }
    }
    recording.save()
}

fn subjects(scale: Scale) -> io::Result<Vec<(&'static str, Subject)>> {
    let mut subjects = vec![(BASE, Subject::plain(|builder| builder))];
    for (name, window) in WINDOWS {
        subjects.push((name, Subject::journaled(scale, window, |builder| builder)?));
    }
    Ok(subjects)
}

/// Two commits begin in it even with the longest window.
fn lasting(scale: Scale) -> Duration {
    Duration::from_millis(if scale.real { 1_200 } else { 20 })
}

/// Nanoseconds per insert and thread. By time and not by number, so that all see as many windows.
fn time(subject: &Subject, keys: &[Vec<u64>], lasting: Duration) -> f64 {
    // Relaxed: it is read when the threads have ended.
    let inserts = AtomicU64::new(0);
    let elapsed = time_threads(keys.len(), |thread| {
        let start = Instant::now();
        let mut own = 0;
        for chunk in keys[thread].chunks(CHUNK).cycle() {
            chunk.iter().for_each(|key| add(subject, black_box(key)));
            own += chunk.len() as u64;
            if start.elapsed() >= lasting {
                break;
            }
        }
        inserts.fetch_add(own, Ordering::Relaxed);
    });
    elapsed.as_secs_f64() * 1e9 * keys.len() as f64 / inserts.into_inner() as f64
}

#[inline(never)]
fn add(subject: &Subject, key: &u64) {
    subject.buffer.add(key, 1).expect("there is room");
}
