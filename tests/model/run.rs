//! Runs a history on a buffer and on the model side by side.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{
    Buffer, FlushWaitError, InsertErrorKind, ManualClock, Overflow, RetryPolicy, ShutdownError, Undelivered,
    UndeliveredState,
};

use crate::history::{History, Settings, Step};
use crate::reference::{End, Generation, Model};
use crate::sink::{Kind, Script, Sink};

pub(crate) struct Pair<V: Kind> {
    pub(crate) buffer: Buffer<u8, V>,
    pub(crate) model: Model<V>,
    pub(crate) clock: ManualClock,
    script: Arc<Mutex<Script<V>>>,
}

pub(crate) fn run<V: Kind>(history: &History) {
    let clock = ManualClock::new();
    let (sink, script) = Sink::<V>::new(history, &clock);
    let buffer = build::<V>(&history.settings).start_inline(sink, &clock).expect("valid settings");
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

fn build<V: Kind>(settings: &Settings) -> write_behind::Builder<u8, V> {
    let mut builder = Buffer::builder();
    for &(inserts, within) in &settings.interval_at {
        builder = builder.interval_at(inserts, within);
    }
    if let Some(inserts) = settings.flush_all_at {
        builder = builder.flush_all_at(inserts);
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
        .flush_threads(settings.flush_threads)
        .max_keys(settings.max_keys)
        .max_weight(settings.max_weight)
        .overflow(settings.overflow)
        .hibernate_after(settings.hibernate_after)
        .retry(RetryPolicy::new().attempts(settings.attempts).delay(settings.delay))
        .seed(settings.seed)
        .flush_at_most(settings.flush_at)
}

/// `flush_at` has no value that stands for never.
trait FlushAtMost: Sized {
    fn flush_at_most(self, inserts: Option<u32>) -> Self;
}

impl<V> FlushAtMost for write_behind::Builder<u8, V> {
    fn flush_at_most(self, inserts: Option<u32>) -> Self {
        match inserts {
            Some(inserts) => self.flush_at(inserts),
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
        let until = self.clock.now() + patience;
        let result = self.buffer.shutdown(patience);
        self.follow();
        assert!(self.clock.now() <= until);
        let (keys, inserts) = match result {
            Ok(()) => (Vec::new(), 0),
            Err(ShutdownError::Undelivered { keys, inserts }) => (keys, inserts),
            Err(other) => panic!("{other:?}"),
        };
        if patience > Duration::from_secs(1) {
            let unhandled =
                |left: &Undelivered<u8, V>| matches!(left.state(), UndeliveredState::Unhandled { .. });
            assert!(keys.iter().all(unhandled), "there was time for all the others: {keys:?}");
        }
        self.check_returned(keys, inserts);
        let again = self.buffer.shutdown(patience);
        assert_eq!(again.is_ok(), inserts == 0);
        assert!(again.err().map(ShutdownError::into_undelivered).unwrap_or_default().is_empty());
        let refused = self.buffer.insert(0, V::item(0, 0)).expect_err("the buffer is closed");
        assert_eq!(refused.kind, InsertErrorKind::Closed);
        self.model.rejected += 1;
    }

    /// What is returned is what the model has left, per key from old to new.
    fn check_returned(&mut self, keys: Vec<Undelivered<u8, V>>, inserts: u64) {
        assert_eq!(keys.iter().map(Undelivered::count).sum::<u64>(), inserts);
        let mut returned: BTreeMap<u8, Vec<(V, u64)>> = BTreeMap::new();
        for left in keys {
            let count = left.count();
            let (key, data) = left.into_parts().expect("no callback is at work");
            returned.entry(key).or_default().push((data, count));
        }
        let mut expected: BTreeMap<u8, Vec<(V, u64)>> = BTreeMap::new();
        for (key, generation) in self.model.take_all() {
            self.model.end(&generation, End::Returned);
            let count = generation.count();
            expected.entry(key).or_default().push((generation.data, count));
        }
        assert_eq!(returned, expected);
    }
}

impl<V: Kind> Model<V> {
    /// Empties the model, per key from old to new.
    fn take_all(&mut self) -> Vec<(u8, Generation<V>)> {
        let kept = std::mem::take(&mut self.kept);
        let mut all: Vec<_> = kept.into_iter().map(|kept| (kept.key, kept.generation)).collect();
        for (&key, state) in &mut self.keys {
            all.extend(state.flight.take().map(|flight| (key, flight.generation)));
            all.extend(state.generations.drain(..).map(|generation| (key, generation)));
        }
        all
    }
}
