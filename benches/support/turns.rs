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

/// As [`take_turns`], of what can fail. All take all of their turns first.
pub(crate) fn try_turns<C, M, E>(
    turns: usize,
    contestants: &[C],
    measure: impl FnMut(&C) -> Result<M, E>,
) -> Result<Vec<Vec<M>>, E> {
    take_turns(turns, contestants, measure).into_iter().map(Result::from_iter).collect()
}

/// The time from when the first thread begins, all having waited for each other, until the last one has
/// ended. Each looks at the clock itself: whoever waits for them may be woken late.
pub(crate) fn time_threads(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let gate = Barrier::new(threads);
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let start = |thread| {
            let (gate, work) = (&gate, &work);
            scope.spawn(move || {
                gate.wait();
                let begun = Instant::now();
                work(thread);
                (begun, Instant::now())
            })
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().expect("no insert fails")).collect()
    });
    let begun = times.iter().map(|time| time.0).min();
    let ended = times.iter().map(|time| time.1).max();
    begun.zip(ended).map_or(Duration::ZERO, |(begun, ended)| ended - begun)
}
