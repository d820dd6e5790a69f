//! Runs a history on a buffer and on the model side by side.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{
    BatchId, Buffer, FlushWaitError, InsertErrorKind, ManualClock, Overflow, RetryPolicy, ShutdownError,
    Undelivered, UndeliveredState,
};

use crate::history::{History, Settings, Step};
use crate::reference::{End, Flight, Generation, Ident, Kept, KeptLine, Model, Wait};
use crate::sink::{KeySink, Kind, Script, Sink};

pub(crate) struct Pair<V: Kind> {
    pub(crate) buffer: Buffer<u8, V, Seeded>,
    pub(crate) model: Model<V>,
    pub(crate) clock: ManualClock,
    script: Arc<Mutex<Script<V>>>,
}

/// Hashes the same way every time, so that a history runs the same way every time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Seeded;

    fn build_hasher(&self) -> Seeded {
        *self
    }
}

impl Hasher for Seeded {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0 << 8 ^ self.0 >> 56 ^ u64::from(byte));
    }

    /// The mixer of SplitMix64.
    fn finish(&self) -> u64 {
        let first = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let second = (first ^ first >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        second ^ second >> 31
    }
}

pub(crate) fn run<V: Kind>(history: &History) {
    let clock = ManualClock::new();
    let (sink, script) = Sink::<V>::new(history, &clock);
    let builder = build::<V>(&history.settings);
    let buffer = match history.settings.by_key {
        true => builder.start_inline(KeySink(sink), &clock),
        false => builder.start_inline(sink, &clock),
    };
    let buffer = buffer.expect("valid settings");
    let model = Model::new(history.settings.clone());
    let mut pair = Pair { buffer, model, clock, script };
    for step in &history.steps {
        pair.take(step);
        pair.check();
    }
    pair.shut_down(history.patience);
    pair.check();
    pair.check_the_end();
}

fn build<V: Kind>(settings: &Settings) -> write_behind::Builder<u8, V, Seeded> {
    let mut builder = Buffer::builder().hasher(Seeded(settings.seed));
    if V::STAGED {
        builder = builder.stage_always();
    }
    for &(inserts, within) in &settings.interval_at_count {
        builder = builder.interval_at_count(inserts, within);
    }
    if let Some(inserts) = settings.flush_all_at_count {
        builder = builder.flush_all_at_count(inserts);
    }
    if let Some(intervals) = settings.policy {
        builder = builder.interval_policy(move |key: &u8, _: &V, _: Duration| {
            let interval = intervals[usize::from(*key)];
            interval.unwrap_or_else(|| resume_unwind(Box::new("the policy panics")))
        });
    }
    builder
        .interval(settings.interval)
        .jitter(settings.jitter)
        .partitions(settings.partitions)
        .max_batch_keys(settings.max_batch_keys)
        .flush_concurrency(settings.flush_concurrency)
        .max_keys(settings.max_keys)
        .max_weight(settings.max_weight)
        .overflow(settings.overflow)
        .hibernate_after(settings.hibernate_after)
        .retry(retry(settings))
        .seed(settings.seed)
        .flush_at_most(settings.flush_at_count)
}

fn retry(settings: &Settings) -> RetryPolicy {
    match settings.attempts {
        Some(attempts) => RetryPolicy::fixed(attempts, settings.delay),
        None => RetryPolicy::new().delay(settings.delay).factor(1.0).jitter(0.0),
    }
}

/// `flush_at_count` has no value that stands for never.
trait FlushAtMost: Sized {
    fn flush_at_most(self, inserts: Option<u32>) -> Self;
}

impl<V, S> FlushAtMost for write_behind::Builder<u8, V, S> {
    fn flush_at_most(self, inserts: Option<u32>) -> Self {
        match inserts {
            Some(inserts) => self.flush_at_count(inserts),
            None => self,
        }
    }
}

impl<V: Kind> Pair<V> {
    fn take(&mut self, step: &Step) {
        self.model.failed.clear();
        match *step {
            Step::Insert(key, value) => self.insert(key, value),
            Step::Advance(by) => {
                self.clock.advance(by);
                self.follow();
                self.check_nothing_is_late();
            }
            Step::Flush(key) => {
                self.model.request(key);
                self.buffer.flush(&key);
            }
            Step::FlushAll => {
                (0..6).for_each(|key| self.model.request(key));
                self.buffer.flush_all();
            }
            Step::FlushAndWait(key, timeout) => {
                let asked = self.held(key);
                self.model.request(key);
                let until = self.clock.now() + timeout;
                let result = self.buffer.flush_and_wait(&key, timeout);
                self.check_wait(&asked, until, result);
            }
            Step::FlushAllAndWait(timeout) => {
                let asked: Vec<u64> = (0..6).flat_map(|key| self.held(key)).collect();
                (0..6).for_each(|key| self.model.request(key));
                let until = self.clock.now() + timeout;
                let result = self.buffer.flush_all_and_wait(timeout);
                self.check_wait(&asked, until, result);
            }
            Step::Remove(key) => assert_eq!(self.buffer.remove(&key), self.model.remove(key)),
            Step::RetryUndelivered => self.retry_undelivered(),
        }
    }

    fn follow(&mut self) {
        let events = std::mem::take(&mut self.script.lock().expect("not poisoned").events);
        events.into_iter().for_each(|event| self.model.follow(event));
    }

    fn insert(&mut self, key: u8, value: i8) {
        let number = self.model.accepted + 1;
        let item = || V::item(number, value);
        let fitted = self.model.fits(key, &item());
        let (overflow, before) = (self.model.settings.overflow, self.clock.now());
        let result = self.buffer.insert(key, item());
        let shed_before = self.model.shed.len();
        self.follow();
        let now = self.clock.now();
        match result.map_err(|refused| refused.kind) {
            Ok(()) if self.model.shed.len() > shed_before => {
                assert_eq!(self.model.shed.last(), Some(&(key, V::start(item()))));
                assert!(overflow == Overflow::Shed && !fitted, "there was room");
            }
            Ok(()) => {
                assert!(self.model.fits(key, &item()), "the bounds are kept");
                assert!(fitted || now > before || !matches!(overflow, Overflow::Reject | Overflow::Shed));
                self.model.accept(key, item(), now);
            }
            Err(kind) => {
                self.model.rejected += 1;
                assert!(!self.model.fits(key, &item()), "refused although there is room");
                match overflow {
                    Overflow::Block { timeout } | Overflow::FlushOldest { timeout } => {
                        assert_eq!((kind, now), (InsertErrorKind::TimedOut, before + timeout));
                    }
                    _ => assert_eq!((kind, overflow), (InsertErrorKind::Full, Overflow::Reject)),
                }
            }
        }
    }

    fn retry_undelivered(&mut self) {
        let (now, mut expected) = (self.clock.now(), 0);
        let offered = self.buffer.retry_undelivered();
        self.model.kept.sort_by_key(|kept| kept.id);
        let mut next = 0;
        while next < self.model.kept.len() {
            if self.model.is_offerable(&self.model.kept[next]) {
                let batch = self.model.kept.remove(next);
                expected += batch.lines.len();
                self.model.offer(batch, now);
            } else {
                next += 1;
            }
        }
        assert_eq!(offered, expected);
    }

    /// The numbers of all inserts of a key that the buffer holds.
    fn held(&self, key: u8) -> Vec<u64> {
        let state = &self.model.keys[&key];
        let flying = state.flight.iter().map(|flight| &flight.generation);
        flying.chain(&state.generations).flat_map(|generation| generation.numbers.clone()).collect()
    }

    fn check_wait(&mut self, asked: &[u64], until: Duration, result: Result<(), FlushWaitError>) {
        self.follow();
        let delivered = |number: &u64| self.model.ends.get(number) == Some(&End::Flushed);
        match result {
            Ok(()) => assert!(asked.iter().all(delivered), "waiting ended too early"),
            Err(FlushWaitError::Failed(_)) => {
                assert!(asked.iter().any(|number| self.model.failed.contains(number)), "nothing had failed");
            }
            Err(FlushWaitError::TimedOut(_)) => {
                assert_eq!(self.clock.now(), until);
                assert!(!asked.iter().all(delivered), "all had been delivered");
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn shut_down(&mut self, patience: Duration) {
        self.model.closed = true;
        let now = self.clock.now();
        let until = now + patience;
        if patience > Duration::ZERO {
            self.model.hurry(now);
        }
        let result = self.buffer.shutdown(patience);
        self.follow();
        assert!(self.clock.now() <= until);
        let left = match result {
            Ok(_) => Vec::new(),
            Err(ShutdownError::Undelivered(left)) => {
                let (inserts, keys) = (left.inserts(), left.len());
                let left: Vec<_> = left.into_iter().collect();
                assert_eq!((left.iter().map(Undelivered::count).sum::<u64>(), left.len()), (inserts, keys));
                left
            }
            Err(other) => panic!("{other:?}"),
        };
        if patience > Duration::from_secs(61) {
            let given_up =
                |left: &Undelivered<u8, V>| matches!(left.state(), UndeliveredState::GivenUp { .. });
            assert!(left.iter().all(given_up), "there was time for all the others: {left:?}");
        }
        let inserts = left.iter().map(Undelivered::count).sum();
        assert_eq!(self.model.retired, Some(inserts), "the sink is told what is left");
        assert_eq!(Arc::strong_count(&self.script), 1, "the sink is gone");
        self.check_returned(left);
        match self.buffer.shutdown(patience) {
            Ok(_) => assert_eq!(inserts, 0),
            Err(ShutdownError::AlreadyReturned { inserts: before }) => assert_eq!(before, inserts),
            Err(other) => panic!("{other:?}"),
        }
        let refused = self.buffer.insert(0, V::item(0, 0)).expect_err("the buffer is closed");
        assert_eq!(refused.kind, InsertErrorKind::Closed);
        self.model.rejected += 1;
    }

    /// What is returned is what the model has left, per key from old to new.
    fn check_returned(&mut self, all: Vec<Undelivered<u8, V>>) {
        let mut returned: BTreeMap<u8, Vec<Left<V>>> = BTreeMap::new();
        for left in all {
            let (count, id, may_be_applied) = (left.count(), left.batch(), left.may_be_applied());
            let place = match left.state() {
                UndeliveredState::Pending => Place::Pending,
                UndeliveredState::Retrying { attempts, .. } => Place::Retrying(*attempts),
                UndeliveredState::GivenUp { attempts, .. } => Place::GivenUp(*attempts),
                other => panic!("no callback is at work: {other:?}"),
            };
            let (key, data) = left.into_parts().expect("no callback is at work");
            returned.entry(key).or_default().push(Left { data, count, id, place, may_be_applied });
        }
        let mut expected = self.model.take_all();
        for (key, lefts) in &mut expected {
            // The new id of a part is nobody's but its own.
            for (left, returned) in lefts.iter_mut().zip(returned.get(key).into_iter().flatten()) {
                if matches!(left.place, Place::Retrying(_)) && left.id.is_none() {
                    assert!(returned.id.is_some_and(|id| !self.model.batches.contains_key(&id)));
                    left.id = returned.id;
                }
            }
        }
        assert_eq!(returned, expected);
    }
}

/// What shutdown returns of a key.
#[derive(Debug, PartialEq)]
struct Left<V> {
    data: V,
    count: u64,
    id: Option<BatchId>,
    place: Place,
    may_be_applied: bool,
}

/// How far it had got, after how many attempts.
#[derive(Debug, PartialEq)]
enum Place {
    Pending,
    Retrying(u32),
    GivenUp(u32),
}

/// Batch, key, generation, how far it had got, and whether it may be applied.
type Taken<V> = (Option<BatchId>, u8, Generation<V>, Place, bool);

impl<V: Kind> Model<V> {
    /// Empties the model, per key from old to new. The ids of parts are not known.
    fn take_all(&mut self) -> BTreeMap<u8, Vec<Left<V>>> {
        let mut all: Vec<Taken<V>> = Vec::new();
        for Kept { id, attempts, frozen, lines, .. } in std::mem::take(&mut self.kept) {
            let line =
                |line: KeptLine<V>| (Some(id), line.key, line.generation, Place::GivenUp(attempts), frozen);
            all.extend(lines.into_iter().map(line));
        }
        for (&key, state) in &mut self.keys {
            let Some(Flight { generation, attempts, frozen, wait }) = state.flight.take() else { continue };
            let Wait::Attempt { ident, .. } = wait else { panic!("{key} was to be given up") };
            let id = match ident {
                Ident::Batch(id) => Some(id),
                Ident::Part(_) => None,
            };
            all.push((id, key, generation, Place::Retrying(attempts), frozen));
        }
        // Parts are younger than what has been sent; what is in the table is the youngest.
        all.sort_by_key(|(id, ..)| (id.is_none(), *id));
        for (&key, state) in &mut self.keys {
            let pending = state.generations.drain(..);
            all.extend(pending.map(|generation| (None, key, generation, Place::Pending, false)));
        }
        let mut lefts: BTreeMap<u8, Vec<Left<V>>> = BTreeMap::new();
        for (id, key, generation, place, may_be_applied) in all {
            self.end(&generation, End::Returned);
            let count = generation.count();
            let left = Left { data: generation.data, count, id, place, may_be_applied };
            lefts.entry(key).or_default().push(left);
        }
        lefts
    }
}
