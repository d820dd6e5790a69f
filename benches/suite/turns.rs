//! Contestants take turns, because a machine does not keep its speed.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Runs each contestant once per turn, in an order that moves on by one from turn to turn. Returns what
/// each has measured, in the order of the contestants.
pub(crate) fn take_turns<C, M>(
    turns: usize,
    contestants: &[C],
    mut measure: impl FnMut(&C) -> M,
) -> Vec<Vec<M>> {
    let mut samples: Vec<Vec<M>> = contestants.iter().map(|_| Vec::with_capacity(turns)).collect();
    for turn in 0..turns {
        for place in 0..contestants.len() {
            let whose = (turn + place) % contestants.len();
            samples[whose].push(measure(&contestants[whose]));
        }
    }
    samples
}

/// The time from when all threads begin, together, until the last one has ended.
pub(crate) fn time_threads(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let gate = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (gate, work) = (&gate, &work);
            scope.spawn(move || {
                gate.wait();
                work(thread);
                gate.wait();
            });
        }
        gate.wait();
        let start = Instant::now();
        gate.wait();
        start.elapsed()
    })
}
