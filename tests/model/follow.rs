//! How the model follows what the sink wrote down, and what it does not let pass.

use std::time::Duration;

use write_behind::{BatchId, FlushReason, Outcome};

use crate::history::Fate;
use crate::reference::{Asked, End, Flight, Generation, Kept, Model, Wait};
use crate::sink::{Attempt, Event, Kind, Line, Told};

impl<V: Kind> Model<V> {
    pub(crate) fn follow(&mut self, event: Event<V>) {
        match event {
            Event::Attempt(attempt) => self.follow_attempt(&attempt),
            Event::GivenUp { at, key, data, attempts, batch, fate } => {
                let flight = self.key(key).flight.take().expect("only what is in flight is given up");
                assert_eq!(flight.wait, Wait::GivingUp { id: batch }, "given up with attempts left");
                assert_eq!(flight.attempts, attempts);
                assert_eq!(flight.generation.data, data);
                self.failed.extend(&flight.generation.numbers);
                self.give_up(key, flight.generation, fate, at);
            }
            Event::Shed { key, data } => self.shed.push((key, data)),
        }
    }

    fn give_up(&mut self, key: u8, generation: Generation<V>, fate: Fate, at: Duration) {
        self.panics += u64::from(fate == Fate::Panic);
        match fate {
            Fate::Done => self.end(&generation, End::GaveUp),
            Fate::Requeue if !self.closed => self.requeue(key, generation, at),
            Fate::Requeue | Fate::Panic => {
                let holds_key = self.key(key).is_empty();
                self.kept.push(Kept { key, generation, holds_key });
            }
        }
    }

    fn follow_attempt(&mut self, attempt: &Attempt<V>) {
        self.flushes += 1;
        let lines = &attempt.lines;
        assert!(!lines.is_empty() && lines.len() <= self.settings.max_batch_keys, "{attempt:?}");
        if let Some(before) = self.batches.get(&attempt.id) {
            assert_eq!(before, lines, "a batch is frozen");
        }
        let again = self.batches.insert(attempt.id, lines.clone()).is_some();
        for line in lines {
            match self.key(line.key).flight.take() {
                Some(flight) => self.follow_retry(flight, line, again, attempt),
                None => self.follow_take(line, attempt),
            }
        }
        for &place in &attempt.applied {
            self.apply(&lines[place]);
        }
        self.follow_result(attempt);
    }

    /// An attempt of what is in flight already.
    fn follow_retry(&mut self, mut flight: Flight<V>, line: &Line<V>, again: bool, attempt: &Attempt<V>) {
        let Wait::Attempt { id, until } = flight.wait else { panic!("{line:?} is to be given up") };
        assert_eq!(id, again.then_some(attempt.id), "a second flight of {line:?}");
        assert!(self.closed || until <= attempt.at, "{line:?} was due at {until:?}: {attempt:?}");
        assert_eq!(flight.attempts + 1, attempt.attempt);
        assert_eq!(flight.generation.data, line.data);
        assert_eq!(flight.generation.count(), line.count);
        flight.attempts += 1;
        self.key(line.key).flight = Some(flight);
    }

    /// The first attempt of what was in the table.
    fn follow_take(&mut self, line: &Line<V>, attempt: &Attempt<V>) {
        assert_eq!(attempt.attempt, 1);
        let (at, may_press, closing) = (attempt.at, self.may_press(), self.closed);
        let state = self.key(line.key);
        let closed = state.generations.len() > 1;
        let reasonable = match line.reason {
            FlushReason::Deadline => state.window.0 <= at,
            FlushReason::Size => state.asked.full || closed,
            FlushReason::Complete => state.asked.ready,
            FlushReason::Volume => state.asked.volume,
            FlushReason::Requested => state.asked.requested,
            FlushReason::Pressure => may_press,
            FlushReason::Shutdown => closing,
            _ => false,
        };
        assert!(reasonable, "{line:?} at {at:?}, {state:?}");
        let generation = state.generations.pop_front().expect("there is something to flush");
        assert_eq!(generation.data, line.data);
        assert_eq!(generation.count(), line.count);
        if state.generations.is_empty() {
            state.asked = Asked::default();
        }
        state.held &= state.generations.len() > 1;
        let wait = Wait::Attempt { id: Some(attempt.id), until: at };
        let count = generation.count();
        state.flight = Some(Flight { generation, attempts: 1, wait });
        self.leave(count);
    }

    /// The sink applied it: once, and after what was inserted before.
    fn apply(&mut self, line: &Line<V>) {
        let numbers = self.flying(line.key).generation.numbers.clone();
        for number in numbers {
            assert!(self.applied.insert(number), "insert {number} is applied twice");
            let last = self.last_applied.insert(line.key, number);
            assert!(last < Some(number), "insert {number} is applied after {last:?}");
        }
    }

    fn follow_result(&mut self, attempt: &Attempt<V>) {
        self.failures += u64::from(attempt.result.is_err());
        match &attempt.result {
            Ok(()) => attempt.lines.iter().for_each(|line| self.flushed(line)),
            Err(Told::Panicked) => {
                self.panics += 1;
                self.batch_failed(attempt, Outcome::Unknown);
            }
            Err(Told::Batch(outcome)) => self.batch_failed(attempt, *outcome),
            Err(Told::Keys(failures)) => {
                for (place, line) in attempt.lines.iter().enumerate() {
                    match failures.iter().find(|(failed, _)| *failed == place) {
                        Some((_, outcome)) => self.key_failed(attempt, line, *outcome),
                        None => self.flushed(line),
                    }
                }
            }
        }
    }

    fn flushed(&mut self, line: &Line<V>) {
        let flight = self.key(line.key).flight.take().expect("it is in flight");
        for number in &flight.generation.numbers {
            assert!(
                self.applied.contains(number),
                "insert {number} was acknowledged without having been applied"
            );
        }
        self.end(&flight.generation, End::Flushed);
    }

    fn key_failed(&mut self, attempt: &Attempt<V>, line: &Line<V>, outcome: Outcome) {
        let again = attempt.attempt < self.settings.attempts && outcome != Outcome::Fatal;
        self.retries += u64::from(again);
        let until = attempt.at + self.settings.delay;
        let wait = if again { Wait::Attempt { id: None, until } } else { Wait::GivingUp { id: attempt.id } };
        self.flying(line.key).wait = wait;
    }

    fn batch_failed(&mut self, attempt: &Attempt<V>, outcome: Outcome) {
        let again = attempt.attempt < self.settings.attempts;
        let delay = if again { self.settings.delay } else { Duration::ZERO };
        let until = attempt.at + delay;
        if outcome == Outcome::Unknown {
            self.frozen.insert(attempt.id);
        }
        let splits = outcome == Outcome::NotApplied && attempt.lines.len() > 1;
        let wait = if splits && !self.frozen.contains(&attempt.id) {
            self.retries += 2;
            Wait::Attempt { id: None, until }
        } else if again && outcome != Outcome::Fatal {
            self.retries += 1;
            Wait::Attempt { id: Some(attempt.id), until }
        } else {
            Wait::GivingUp { id: attempt.id }
        };
        attempt.lines.iter().for_each(|line| self.flying(line.key).wait = wait);
    }

    fn flying(&mut self, key: u8) -> &mut Flight<V> {
        self.key(key).flight.as_mut().expect("it is in flight")
    }

    /// The id of the batch that a key is in, if the model can know.
    pub(crate) fn batch_of(&self, key: u8) -> Option<BatchId> {
        match self.keys[&key].flight.as_ref()?.wait {
            Wait::Attempt { id, .. } => id,
            Wait::GivingUp { id } => Some(id),
        }
    }
}
