//! The sink under the buffer: does what the history says and writes down what it saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{
    Aggregate, BatchDataBuffer, BatchId, DataBuffer, DeadLetter, FlushBatch, FlushContext, FlushError,
    FlushReason, ManualClock, Retirement, Sum, Verdict,
};

use crate::history::{Effect, Ending, Fate, History, Spent, Telling};

/// An aggregate that the model can compare, and how it gets its items.
pub(crate) trait Kind: Aggregate + Clone + PartialEq + Debug {
    /// Whether all keys are in lanes.
    const STAGED: bool = false;

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

impl Kind for Sum<i64> {
    const STAGED: bool = true;

    fn item(number: u64, value: i8) -> i64 {
        i64::from(value) << 32 | number as i64
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
    pub(crate) settled_below: u64,
    pub(crate) lines: Vec<Line<V>>,
    pub(crate) result: Result<(), Told>,
    /// The places of the lines that this attempt applied. A batch that has been applied before is
    /// not applied again, as storage does that records ids.
    pub(crate) applied: Vec<usize>,
}

/// What the buffer was told of a failure.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Batch(Telling),
    Panicked,
    Misreported,
    Keys(Vec<(usize, Telling)>),
}

/// A key that `handle_error` was given.
#[derive(Debug)]
pub(crate) struct Letter<V> {
    pub(crate) at: Duration,
    pub(crate) key: u8,
    pub(crate) data: V,
    pub(crate) count: u64,
    pub(crate) attempts: u32,
    pub(crate) batch: BatchId,
    pub(crate) may_be_applied: bool,
    pub(crate) fate: Fate,
}

#[derive(Debug)]
pub(crate) enum Event<V> {
    Attempt(Attempt<V>),
    GivenUp(Letter<V>),
    Shed { key: u8, data: V },
    Retired { undelivered: u64 },
}

#[derive(Debug)]
pub(crate) struct Script<V> {
    endings: VecDeque<Ending>,
    verdicts: VecDeque<Spent>,
    /// What becomes of the other keys of that batch.
    shared: Option<(BatchId, Fate)>,
    applied: BTreeSet<BatchId>,
    pub(crate) events: Vec<Event<V>>,
}

/// A sink of whole batches.
pub(crate) struct Sink<V> {
    clock: ManualClock,
    script: Arc<Mutex<Script<V>>>,
}

/// A sink of single keys.
pub(crate) struct KeySink<V>(pub(crate) Sink<V>);

impl<V> Sink<V> {
    pub(crate) fn new(history: &History, clock: &ManualClock) -> (Self, Arc<Mutex<Script<V>>>) {
        let script = Arc::new(Mutex::new(Script {
            endings: history.endings.iter().cloned().collect(),
            verdicts: history.verdicts.iter().copied().collect(),
            shared: None,
            applied: BTreeSet::new(),
            events: Vec::new(),
        }));
        (Sink { clock: clock.clone(), script: Arc::clone(&script) }, script)
    }

    fn note(&self, event: Event<V>) {
        self.script.lock().expect("nothing panics in here").events.push(event);
    }
}

impl<V> Script<V> {
    /// How the next attempt of `id` with so many lines ends, and which lines it applies.
    fn end(&mut self, id: BatchId, lines: usize, by_key: bool) -> (Result<(), Told>, Vec<usize>) {
        let known = self.applied.contains(&id);
        let ending = match self.endings.pop_front().unwrap_or(Ending::Ok) {
            // Whoever records ids finds this one, and knows that it is done.
            Ending::Keys(..) if known => Ending::Ok,
            Ending::Failed { telling, .. } if known && telling.effect == Effect::NeverApplied => Ending::Ok,
            // A sink of single keys has no entries to name.
            Ending::Keys(_, how) if by_key => Ending::Failed { telling: how[0], applied: false },
            Ending::Misreported if by_key => Ending::Panic { applied: true },
            ending => ending,
        };
        let all = |applied: bool| if applied && !known { (0..lines).collect() } else { Vec::new() };
        let (result, applied) = match ending {
            Ending::Ok => (Ok(()), all(true)),
            Ending::Failed { telling, applied } => {
                (Err(Told::Batch(telling)), all(applied && telling.effect == Effect::Unknown))
            }
            Ending::Panic { applied } => (Err(Told::Panicked), all(applied)),
            Ending::Misreported => (Err(Told::Misreported), Vec::new()),
            Ending::Keys(which, how) => fail_some(lines, which, how),
        };
        if applied.len() == lines {
            self.applied.insert(id);
        }
        (result, applied)
    }

    fn fate_of(&mut self, batch: BatchId) -> Fate {
        match self.shared {
            Some((of, fate)) if of == batch => fate,
            _ => {
                let spent = self.verdicts.pop_front();
                let Spent { fate, shared } = spent.unwrap_or(Spent { fate: Fate::Forget, shared: false });
                self.shared = shared.then_some((batch, fate));
                fate
            }
        }
    }
}

fn fail_some(lines: usize, which: u8, how: [Telling; 3]) -> (Result<(), Told>, Vec<usize>) {
    let fails = |place: usize| which >> (place % 4) & 1 == 1;
    let mut failures: Vec<_> =
        (0..lines).filter(|&place| fails(place)).map(|place| (place, how[place % 3])).collect();
    if failures.is_empty() {
        failures.push((0, how[0]));
    }
    let failed: Vec<usize> = failures.iter().map(|(place, _)| *place).collect();
    (Err(Told::Keys(failures)), (0..lines).filter(|place| !failed.contains(place)).collect())
}

fn failure(telling: Telling) -> FlushError {
    let error = match telling.effect {
        Effect::Unknown => FlushError::unknown("unknown"),
        Effect::NotApplied => FlushError::not_applied("not applied"),
        Effect::NeverApplied => FlushError::never_applied("never applied"),
    };
    if telling.hopeless { error.give_up() } else { error }
}

impl<V: Kind> Sink<V> {
    fn attempt(
        &self,
        (id, attempt, settled_below): (BatchId, u32, u64),
        lines: Vec<Line<V>>,
        by_key: bool,
    ) -> Result<(), Told> {
        let mut script = self.script.lock().expect("nothing panics in here");
        let (result, applied) = script.end(id, lines.len(), by_key);
        let told = result.clone();
        let at = self.clock.now();
        script.events.push(Event::Attempt(Attempt {
            at,
            id,
            attempt,
            settled_below,
            lines,
            result,
            applied,
        }));
        told
    }
}

impl<V: Kind> BatchDataBuffer<u8, V> for Sink<V> {
    fn handle_flush_batch(&self, batch: &FlushBatch<u8, V>) -> Result<(), FlushError> {
        let entries = batch.entries();
        let lines = entries.iter().map(|entry| Line {
            key: *entry.key(),
            data: entry.data().clone(),
            count: entry.count(),
            reason: entry.reason(),
        });
        let number = (batch.id(), batch.attempt(), batch.settled_below());
        match self.attempt(number, lines.collect(), false) {
            Ok(()) => Ok(()),
            Err(Told::Batch(telling)) => Err(failure(telling)),
            Err(Told::Panicked) => resume_unwind(Box::new("the sink's flush panics")),
            Err(Told::Misreported) => {
                FlushError::entries([entries[0].failed("this key"), entries[0].failed("again")])
            }
            Err(Told::Keys(failures)) => {
                let failures = failures.into_iter();
                FlushError::entries(failures.map(|(place, telling)| entries[place].failed(failure(telling))))
            }
        }
    }

    fn handle_error(&self, letter: DeadLetter<u8, V>) -> Verdict<u8, V> {
        let fate = self.script.lock().expect("nothing panics in here").fate_of(letter.batch());
        self.note(Event::GivenUp(Letter {
            at: self.clock.now(),
            key: *letter.key(),
            data: letter.data().clone(),
            count: letter.count(),
            attempts: letter.attempts(),
            batch: letter.batch(),
            may_be_applied: letter.may_be_applied(),
            fate,
        }));
        match fate {
            Fate::Forget => Verdict::Forget,
            Fate::Requeue => Verdict::Requeue(letter),
            Fate::Keep => Verdict::Keep(letter),
            Fate::Panic => resume_unwind(Box::new("the sink's error handling panics")),
            Fate::TakeAndPanic => resume_unwind(Box::new(letter.into_parts().0)),
        }
    }

    fn handle_shed(&self, key: u8, data: V) {
        self.note(Event::Shed { key, data });
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.note(Event::Retired { undelivered: retirement.undelivered });
    }
}

impl<V: Kind> DataBuffer<u8, V> for KeySink<V> {
    fn handle_flush(&self, key: &u8, data: &V, context: &FlushContext) -> Result<(), FlushError> {
        let line = Line { key: *key, data: data.clone(), count: context.count(), reason: context.reason() };
        let number = (context.id(), context.attempt(), context.settled_below());
        match self.0.attempt(number, vec![line], true) {
            Ok(()) => Ok(()),
            Err(Told::Batch(telling)) => Err(failure(telling)),
            Err(_) => resume_unwind(Box::new("the sink's flush panics")),
        }
    }

    fn handle_error(&self, letter: DeadLetter<u8, V>) -> Verdict<u8, V> {
        self.0.handle_error(letter)
    }

    fn handle_shed(&self, key: u8, data: V) {
        self.0.handle_shed(key, data);
    }

    fn handle_retired(&self, retirement: &Retirement) {
        self.0.handle_retired(retirement);
    }
}
