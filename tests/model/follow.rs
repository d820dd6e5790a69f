//! How the model follows what the sink wrote down, and what it does not let pass.

use std::time::Duration;

use write_behind::{BatchId, FlushReason};

use crate::history::{Effect, Fate, Telling, ms};
use crate::reference::{Asked, End, Flight, Ident, Kept, KeptLine, Model, Parting, Wait};
use crate::sink::{Attempt, Event, Kind, Letter, Line, Told};

impl<V: Kind> Model<V> {
    pub(crate) fn follow(&mut self, event: Event<V>) {
        assert_eq!(self.retired, None, "nothing is called after the end: {event:?}");
        match event {
            Event::Attempt(attempt) => self.follow_attempt(&attempt),
            Event::GivenUp(letter) => self.follow_letter(&letter),
            Event::Shed { key, data } => self.shed.push((key, data)),
            Event::Retired { undelivered } => self.retired = Some(undelivered),
        }
    }

    fn follow_letter(&mut self, letter: &Letter<V>) {
        let flight = self.flying(letter.key).clone();
        let Wait::GivingUp { ident, keys, may_be_applied } = flight.wait else {
            panic!("given up with attempts left: {letter:?} {flight:?}")
        };
        match ident {
            Ident::Batch(id) => assert_eq!(id, letter.batch),
            Ident::Part(part) => self.name_part(part, letter.batch),
        }
        assert_eq!((letter.attempts, letter.may_be_applied), (flight.attempts, may_be_applied), "{letter:?}");
        assert_eq!((&letter.data, letter.count), (&flight.generation.data, flight.generation.count()));
        self.failed.extend(&flight.generation.numbers);
        let (back, kept) = (Vec::new(), Vec::new());
        let fresh = Parting { id: letter.batch, keys, handed: 0, may_be_applied, whole: true, back, kept };
        let mut parting = self.parting.take().unwrap_or(fresh);
        assert_eq!(parting.id, letter.batch, "batches are given up one after the other");
        parting.handed += 1;
        self.panics += u64::from(matches!(letter.fate, Fate::Panic | Fate::TakeAndPanic));
        match letter.fate {
            Fate::Requeue => parting.back.push(letter.key),
            Fate::Keep | Fate::Panic => parting.kept.push(letter.key),
            Fate::Forget | Fate::TakeAndPanic => {
                self.key(letter.key).flight = None;
                self.end(&flight.generation, End::GaveUp);
                parting.whole = false;
            }
        }
        if parting.handed == parting.keys {
            self.end_parting(parting, letter.at);
        } else {
            self.parting = Some(parting);
        }
    }

    /// All keys of a batch have been given up.
    fn end_parting(&mut self, parting: Parting, at: Duration) {
        let Parting { id, may_be_applied, whole, mut back, mut kept, .. } = parting;
        if self.closed {
            kept.append(&mut back);
        } else if !may_be_applied {
            for key in back {
                let flight = self.key(key).flight.take().expect("it is in flight");
                self.requeue(key, flight.generation, at);
            }
        } else if whole && kept.is_empty() {
            let from = at + self.settings.interval;
            let wait = Wait::Attempt { ident: Ident::Batch(id), from, until: from + self.settings.jitter };
            for key in back {
                let flight = self.flying(key);
                (flight.attempts, flight.frozen, flight.wait) = (0, true, wait);
            }
        } else {
            kept.append(&mut back);
        }
        self.keep(id, may_be_applied, whole, &kept);
    }

    fn keep(&mut self, id: BatchId, frozen: bool, whole: bool, keys: &[u8]) {
        let (mut attempts, mut lines) = (0, Vec::new());
        for &key in keys {
            let Flight { generation, attempts: made, .. } =
                self.key(key).flight.take().expect("it is in flight");
            self.set_aside.extend(&generation.numbers);
            attempts = made;
            lines.push(KeptLine { key, generation, holds_key: self.key(key).is_empty() });
        }
        if !lines.is_empty() {
            self.kept.push(Kept { id, attempts, frozen, whole, lines });
        }
    }

    /// A part has got its id, which nothing had before.
    fn name_part(&mut self, part: usize, id: BatchId) {
        let before = self.batches.insert(id, self.parts[part].clone());
        assert_eq!(before, None, "the id of a part is new");
    }

    fn follow_attempt(&mut self, attempt: &Attempt<V>) {
        assert!(self.parting.is_none(), "not all keys of a batch have been given up: {:?}", self.parting);
        self.flushes += 1;
        let most = if self.settings.by_key { 1 } else { self.settings.max_batch_keys };
        assert!((1..=most).contains(&attempt.lines.len()), "{attempt:?}");
        self.follow_settled_below(attempt);
        match self.key(attempt.lines[0].key).flight.as_ref().map(|flight| flight.wait) {
            Some(Wait::GivingUp { .. }) => panic!("to be given up: {attempt:?}"),
            Some(Wait::Attempt { ident, from, until }) => {
                assert!((from..=until).contains(&attempt.at), "between {from:?} and {until:?}: {attempt:?}");
                match ident {
                    Ident::Batch(id) => assert_eq!(id, attempt.id),
                    Ident::Part(part) => self.name_part(part, attempt.id),
                }
                assert_eq!(self.batches[&attempt.id], attempt.lines, "a batch is frozen");
                attempt.lines.iter().for_each(|line| self.follow_retry(line, ident, attempt));
            }
            None => {
                let before = self.batches.insert(attempt.id, attempt.lines.clone());
                assert_eq!(before, None, "an id is never used again");
                attempt.lines.iter().for_each(|line| self.follow_take(line, attempt));
            }
        }
        for &place in &attempt.applied {
            self.apply(&attempt.lines[place]);
        }
        self.follow_result(attempt);
    }

    /// What is announced as settled for good is neither in flight nor kept.
    fn follow_settled_below(&mut self, attempt: &Attempt<V>) {
        assert!(self.settled_below <= attempt.settled_below);
        self.settled_below = attempt.settled_below;
        let waits = self.keys.values().filter_map(|state| Some(state.flight.as_ref()?.wait));
        let flying = waits.filter_map(|wait| match wait {
            Wait::Attempt { ident: Ident::Batch(id), .. } => Some(id),
            _ => None,
        });
        let kept = self.kept.iter().map(|kept| kept.id);
        let lowest = flying.chain(kept).chain([attempt.id]).map(|id| id.sequence).min();
        assert!(lowest >= Some(attempt.settled_below), "{attempt:?}");
    }

    /// An attempt of what is in flight already.
    fn follow_retry(&mut self, line: &Line<V>, of: Ident, attempt: &Attempt<V>) {
        let flight = self.flying(line.key);
        assert!(matches!(flight.wait, Wait::Attempt { ident, .. } if ident == of), "{flight:?} {attempt:?}");
        assert_eq!(flight.attempts + 1, attempt.attempt);
        assert_eq!(flight.generation.data, line.data);
        assert_eq!(flight.generation.count(), line.count);
        flight.attempts += 1;
    }

    /// The first attempt of what was in the table.
    fn follow_take(&mut self, line: &Line<V>, attempt: &Attempt<V>) {
        assert_eq!(attempt.attempt, 1);
        let (at, may_press, closing) = (attempt.at, self.may_press(), self.closed);
        let state = self.key(line.key);
        assert!(state.flight.is_none(), "a second flight of {line:?}");
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
        let wait = Wait::Attempt { ident: Ident::Batch(attempt.id), from: at, until: at };
        let count = generation.count();
        state.flight = Some(Flight { generation, attempts: 1, frozen: false, wait });
        self.leave(count);
    }

    /// The sink applied it: once, and after what was inserted before, unless it has been kept.
    fn apply(&mut self, line: &Line<V>) {
        let numbers = self.flying(line.key).generation.numbers.clone();
        for number in numbers {
            assert!(self.applied.insert(number), "insert {number} is applied twice");
            if self.set_aside.contains(&number) {
                continue;
            }
            let last = self.last_applied.insert(line.key, number);
            assert!(last < Some(number), "insert {number} is applied after {last:?}");
        }
    }

    fn follow_result(&mut self, attempt: &Attempt<V>) {
        self.failures += u64::from(attempt.result.is_err());
        let unknown = Telling { effect: Effect::Unknown, hopeless: false };
        match &attempt.result {
            Ok(()) => attempt.lines.iter().for_each(|line| self.flushed(line)),
            Err(Told::Panicked) => {
                self.panics += 1;
                self.batch_failed(attempt, unknown);
            }
            Err(Told::Misreported) => self.batch_failed(attempt, unknown),
            Err(Told::Batch(telling)) => self.batch_failed(attempt, *telling),
            Err(Told::Keys(failures)) => {
                for (place, line) in attempt.lines.iter().enumerate() {
                    match failures.iter().find(|(failed, _)| *failed == place) {
                        Some((_, telling)) => self.key_failed(attempt, line, *telling),
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

    /// Whether there is another attempt after this one, and between which times.
    fn next(&self, attempt: &Attempt<V>) -> Option<(Duration, Duration)> {
        let delay = self.settings.delay;
        if self.closed {
            // However many there were, and sooner than the policy says.
            let most = ms(50 << (attempt.attempt - 1).min(5)).min(ms(1_000));
            return Some((attempt.at + delay.min(most), attempt.at + most));
        }
        let again = self.settings.attempts.is_none_or(|most| attempt.attempt < most);
        again.then_some((attempt.at + delay, attempt.at + delay))
    }

    /// An entry failed alone: it goes on as a part.
    fn key_failed(&mut self, attempt: &Attempt<V>, line: &Line<V>, telling: Telling) {
        let next = self.next(attempt).filter(|_| !telling.hopeless);
        self.retries += u64::from(next.is_some());
        let ident = self.part(vec![line.clone()]);
        let frozen = telling.effect == Effect::Unknown;
        let flight = self.flying(line.key);
        flight.frozen = frozen;
        flight.wait = match next {
            Some((from, until)) => Wait::Attempt { ident, from, until },
            None => Wait::GivingUp { ident, keys: 1, may_be_applied: frozen },
        };
    }

    fn batch_failed(&mut self, attempt: &Attempt<V>, telling: Telling) {
        let frozen = match telling.effect {
            Effect::Unknown => true,
            Effect::NotApplied => self.flying(attempt.lines[0].key).frozen,
            Effect::NeverApplied => false,
        };
        let (next, keys) = (self.next(attempt), attempt.lines.len());
        let ident = Ident::Batch(attempt.id);
        let giving_up = Wait::GivingUp { ident, keys, may_be_applied: frozen };
        match next {
            _ if telling.hopeless => self.set_waits(&attempt.lines, frozen, giving_up),
            _ if keys > 1 && !frozen => {
                let at_once = (attempt.at, attempt.at);
                let never = telling.effect == Effect::NeverApplied;
                let (from, until) = next.filter(|_| !never).unwrap_or(at_once);
                let (first, second) = attempt.lines.split_at(keys / 2);
                for half in [first, second] {
                    let ident = self.part(half.to_vec());
                    self.set_waits(half, frozen, Wait::Attempt { ident, from, until });
                    self.retries += 1;
                }
            }
            Some((from, until)) => {
                self.retries += 1;
                // What can never be applied under its id goes on under another.
                let never = telling.effect == Effect::NeverApplied;
                let ident = if never { self.part(attempt.lines.clone()) } else { ident };
                self.set_waits(&attempt.lines, frozen, Wait::Attempt { ident, from, until });
            }
            None => self.set_waits(&attempt.lines, frozen, giving_up),
        }
    }

    fn set_waits(&mut self, lines: &[Line<V>], frozen: bool, wait: Wait) {
        for line in lines {
            let flight = self.flying(line.key);
            (flight.frozen, flight.wait) = (frozen, wait);
        }
    }

    fn part(&mut self, lines: Vec<Line<V>>) -> Ident {
        self.parts.push(lines);
        Ident::Part(self.parts.len() - 1)
    }

    fn flying(&mut self, key: u8) -> &mut Flight<V> {
        self.key(key).flight.as_mut().expect("it is in flight")
    }

    /// Shutdown begins, and waits for no backoff.
    pub(crate) fn hurry(&mut self, now: Duration) {
        for flight in self.keys.values_mut().filter_map(|state| state.flight.as_mut()) {
            if let Wait::Attempt { from, until, .. } = &mut flight.wait {
                (*from, *until) = (now, now);
            }
        }
    }

    /// The id of the batch that a key is in, if the model can know.
    pub(crate) fn batch_of(&self, key: u8) -> Option<BatchId> {
        match self.keys[&key].flight.as_ref()?.wait {
            Wait::Attempt { ident: Ident::Batch(id), .. } => Some(id),
            _ => None,
        }
    }
}
