//! The sink under the buffer: does what the history says and writes down what it saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{
    Aggregate, BatchId, DataBuffer, FailedFlush, FlushBatch, FlushError, FlushReason, KeyFailure,
    ManualClock, Outcome, Sum, Verdict,
};

use crate::history::{Ending, Fate, History};

/// An aggregate that the model can compare, and how it gets its items.
pub(crate) trait Kind: Aggregate + Clone + PartialEq + Debug {
    fn item(number: u64, value: i8) -> Self::Item;
}

impl Kind for Vec<u64> {
    fn item(number: u64, _: i8) -> u64 {
        number
    }
}

impl Kind for Sum<i8> {
    fn item(_: u64, value: i8) -> i8 {
        value
    }
}

/// Three different parts of one thing, ready when they are all there, and any number of remarks (3).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join(BTreeMap<u8, Vec<u64>>);

impl Aggregate for Join {
    type Item = (u8, u64);

    fn start(item: (u8, u64)) -> Self {
        let mut join = Join(BTreeMap::new());
        join.absorb(item);
        join
    }

    fn absorb(&mut self, (part, number): (u8, u64)) {
        assert!(self.accepts(&(part, number)));
        self.0.entry(part).or_default().push(number);
    }

    fn merge(&mut self, later: Self) {
        assert!(self.accepts_merge(&later));
        later.0.into_iter().for_each(|(part, numbers)| self.0.entry(part).or_default().extend(numbers));
    }

    fn accepts(&self, (part, _): &(u8, u64)) -> bool {
        *part == 3 || !self.0.contains_key(part)
    }

    fn accepts_merge(&self, later: &Self) -> bool {
        (0..3).all(|part| !self.0.contains_key(&part) || !later.0.contains_key(&part))
    }

    fn is_ready(&self) -> bool {
        (0..3).all(|part| self.0.contains_key(&part))
    }
}

impl Kind for Join {
    fn item(number: u64, value: i8) -> (u8, u64) {
        (value.rem_euclid(4) as u8, number)
    }
}

/// One entry of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line<V> {
    pub(crate) key: u8,
    pub(crate) data: V,
    pub(crate) count: u64,
    pub(crate) reason: FlushReason,
}

#[derive(Debug)]
pub(crate) struct Attempt<V> {
    pub(crate) at: Duration,
    pub(crate) id: BatchId,
    pub(crate) attempt: u32,
    pub(crate) lines: Vec<Line<V>>,
    pub(crate) result: Result<(), Told>,
    /// The places of the lines that this attempt applied. A batch that has been applied before is
    /// not applied again, as storage does that records ids.
    pub(crate) applied: Vec<usize>,
}

/// What the buffer was told of a failure.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Batch(Outcome),
    Panicked,
    Keys(Vec<(usize, Outcome)>),
}

#[derive(Debug)]
pub(crate) enum Event<V> {
    Attempt(Attempt<V>),
    GivenUp { at: Duration, key: u8, data: V, attempts: u32, batch: BatchId, fate: Fate },
    Shed { key: u8, data: V },
}

#[derive(Debug)]
pub(crate) struct Script<V> {
    endings: VecDeque<Ending>,
    verdicts: VecDeque<Fate>,
    applied: BTreeSet<BatchId>,
    pub(crate) events: Vec<Event<V>>,
}

pub(crate) struct Sink<V> {
    clock: ManualClock,
    script: Arc<Mutex<Script<V>>>,
}

impl<V> Sink<V> {
    pub(crate) fn new(history: &History, clock: &ManualClock) -> (Self, Arc<Mutex<Script<V>>>) {
        let script = Arc::new(Mutex::new(Script {
            endings: history.endings.iter().cloned().collect(),
            verdicts: history.verdicts.iter().copied().collect(),
            applied: BTreeSet::new(),
            events: Vec::new(),
        }));
        (Sink { clock: clock.clone(), script: Arc::clone(&script) }, script)
    }
}

impl<V> Script<V> {
    /// How the next attempt of `id` with so many lines ends, and which lines it applies.
    fn end(&mut self, id: BatchId, lines: usize) -> (Result<(), Told>, Vec<usize>) {
        let mut ending = self.endings.pop_front().unwrap_or(Ending::Ok);
        let known = self.applied.contains(&id);
        if known && matches!(ending, Ending::Keys(..)) {
            ending = Ending::Ok;
        }
        let all = || if known { Vec::new() } else { (0..lines).collect() };
        let (result, applied) = match ending {
            Ending::Ok => (Ok(()), all()),
            Ending::Unknown { applied } => {
                (Err(Told::Batch(Outcome::Unknown)), if applied { all() } else { Vec::new() })
            }
            Ending::Panic { applied } => (Err(Told::Panicked), if applied { all() } else { Vec::new() }),
            Ending::NotApplied => (Err(Told::Batch(Outcome::NotApplied)), Vec::new()),
            Ending::Fatal => (Err(Told::Batch(Outcome::Fatal)), Vec::new()),
            Ending::Keys(which, how) => fail_some(lines, which, how),
        };
        if applied.len() == lines {
            self.applied.insert(id);
        }
        (result, applied)
    }
}

fn fail_some(lines: usize, which: u8, how: [Outcome; 3]) -> (Result<(), Told>, Vec<usize>) {
    let fails = |place: usize| which >> (place % 4) & 1 == 1;
    let mut failures: Vec<_> =
        (0..lines).filter(|&place| fails(place)).map(|place| (place, how[place % 3])).collect();
    if failures.is_empty() {
        failures.push((0, how[0]));
    }
    let failed: Vec<usize> = failures.iter().map(|(place, _)| *place).collect();
    (Err(Told::Keys(failures)), (0..lines).filter(|place| !failed.contains(place)).collect())
}

impl<V: Kind> DataBuffer<u8, V> for Sink<V> {
    type Error = String;

    fn handle_flush(&self, _: &u8, _: &V) -> Result<(), String> {
        Err("only batches are flushed".to_owned())
    }

    fn handle_flush_batch(&self, batch: &FlushBatch<u8, V>) -> Result<(), FlushError<String>> {
        let lines = batch.entries().iter().map(|entry| Line {
            key: *entry.key(),
            data: entry.data().clone(),
            count: entry.count(),
            reason: entry.reason(),
        });
        let result = {
            let mut script = self.script.lock().expect("nothing panics in here");
            let (result, applied) = script.end(batch.id(), batch.len());
            script.events.push(Event::Attempt(Attempt {
                at: self.clock.now(),
                id: batch.id(),
                attempt: batch.attempt(),
                lines: lines.collect(),
                result: result.clone(),
                applied,
            }));
            result
        };
        result.map_err(|told| match told {
            Told::Batch(Outcome::NotApplied) => FlushError::not_applied("not applied".to_owned()),
            Told::Batch(Outcome::Fatal) => FlushError::fatal("fatal".to_owned()),
            Told::Batch(_) => FlushError::unknown("unknown".to_owned()),
            Told::Panicked => resume_unwind(Box::new("the sink's flush panics")),
            Told::Keys(failures) => FlushError::keys(
                failures.into_iter().map(|(place, how)| KeyFailure::new(place, how, "this key".to_owned())),
            ),
        })
    }

    fn handle_error(&self, failed: FailedFlush<u8, V>) -> Verdict<V> {
        let fate = {
            let mut script = self.script.lock().expect("nothing panics in here");
            let mut fate = script.verdicts.pop_front().unwrap_or(Fate::Done);
            // It is there after all: to put it back would be the sink's mistake.
            if fate == Fate::Requeue && script.applied.contains(&failed.batch()) {
                fate = Fate::Done;
            }
            script.events.push(Event::GivenUp {
                at: self.clock.now(),
                key: *failed.key(),
                data: failed.data().clone(),
                attempts: failed.attempts(),
                batch: failed.batch(),
                fate,
            });
            fate
        };
        match fate {
            Fate::Done => Verdict::Done,
            Fate::Requeue => Verdict::Requeue(failed.into_data()),
            Fate::Panic => resume_unwind(Box::new("the sink's error handling panics")),
        }
    }

    fn handle_shed(&self, key: u8, data: V) {
        self.script.lock().expect("nothing panics in here").events.push(Event::Shed { key, data });
    }
}
