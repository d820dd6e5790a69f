//! What becomes slower when there are more keys: inserts, flushes, and timers, for which an insert of a new
//! key stands.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use crate::keys::Spread;
use crate::peers::{HandWritten, Peer, Private, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const BATCH: usize = 1_000;

struct Contestant<'a> {
    name: &'static str,
    peer: &'a dyn Peer<u64, i64>,
    /// Hands all entries to a sink that does nothing.
    drain: Box<dyn Fn() + 'a>,
}

type Measure<'a> = Box<dyn Fn(&Contestant<'_>) -> f64 + 'a>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "scaling", "ns per key", "hand-written");
    let sizes: &[usize] = if scale.real { &[100, 10_000, 1_000_000, 10_000_000] } else { &[100, 1_000] };
    for &size in sizes {
        // Ten millions take seconds.
        let turns = scale.turns.min(if size > 1_000_000 { 2 } else { 5 });
        of_size(size, Scale { turns, ..scale }, &mut recording);
    }
    recording.save()
}

fn of_size(size: usize, scale: Scale, recording: &mut Recording) {
    let (private, hand_written, write_behind) =
        (Private::new(), HandWritten::new(), WriteBehind::<u64, i64>::new());
    let contestants = [
        Contestant {
            name: "private map",
            peer: &private,
            drain: Box::new(|| private.drain(|entry| _ = black_box(entry))),
        },
        Contestant {
            name: "hand-written",
            peer: &hand_written,
            drain: Box::new(|| hand_written.drain(BATCH, |entries| _ = black_box(entries))),
        },
        Contestant { name: "write-behind", peer: &write_behind, drain: Box::new(|| write_behind.empty()) },
    ];
    let keys: Vec<u64> = Spread::Uniform(size).draw(size.max(scale.million), 0);
    // Short ones often enough to be seen by the clock.
    let rounds = (scale.million / size).clamp(1, 1_000);
    let measures: [(&str, Measure<'_>); 3] = [
        ("insert of an existing key", Box::new(|one| existing(one, size, &keys))),
        ("flush", Box::new(|one| fill_and_drain(one, size, rounds)[1])),
        ("timer: insert of a new key", Box::new(|one| fill_and_drain(one, size, rounds)[0])),
    ];
    for (name, measure) in measures {
        let samples = take_turns(scale.turns, &contestants, |contestant| measure(contestant));
        let names = contestants.iter().map(|contestant| contestant.name);
        recording.add(&[name, &size.to_string()], names.zip(samples).collect());
    }
}

fn existing(contestant: &Contestant<'_>, size: usize, keys: &[u64]) -> f64 {
    fill(contestant, size);
    let mut insert = contestant.peer.inserter(0);
    let start = Instant::now();
    keys.iter().for_each(|key| insert(black_box(key), 1));
    let took = start.elapsed();
    drop(insert);
    (contestant.drain)();
    took.as_secs_f64() * 1e9 / keys.len() as f64
}

/// What filling and draining take, by key.
fn fill_and_drain(contestant: &Contestant<'_>, size: usize, rounds: usize) -> [f64; 2] {
    let mut took = [Duration::ZERO; 2];
    for _ in 0..rounds {
        let start = Instant::now();
        fill(contestant, size);
        let filled = Instant::now();
        (contestant.drain)();
        took[0] += filled - start;
        took[1] += filled.elapsed();
    }
    took.map(|took| took.as_secs_f64() * 1e9 / (size * rounds) as f64)
}

fn fill(contestant: &Contestant<'_>, size: usize) {
    let mut insert = contestant.peer.inserter(0);
    (0..size as u64).for_each(|key| insert(black_box(&key), 1));
}
