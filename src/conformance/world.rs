//! The world around a sink: makes batches, delivers attempts or loses them, and looks what they have done.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::books::{Books, Luck};
use super::cancelling::cancelled_after;
use super::findings::findings;
use super::process::{Flight, Lot, Process, Sent};
use super::props::Props;
use super::report::{Delivery, Report, ScenarioReport};
use super::scenario::Scenario;
use super::subject::Subject;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, Content, Entry, FlushReason};
use crate::driver::user::callbacks::Callbacks;
use crate::failure::Scope;
use crate::key::Key;

/// Each scenario has so many numbers for keys.
const KEYS_OF_A_SCENARIO: u32 = 100_000;

/// So that the scenarios of neighbouring seeds have nothing in common: 2^64 divided by the golden ratio, odd.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) type Answer = Result<(), Scope>;

pub(super) struct World<'a, K, V, S> {
    props: Props<'a, K, V>,
    subject: S,
    seed: u64,
    pub(super) rng: SmallRng,
    pub(super) books: Books,
    /// The keys in use, and their numbers.
    numbers: HashMap<K, u32>,
    next_key: u32,
    poisoned: Vec<u32>,
    /// What was there when the scenario began.
    totals: HashMap<K, i64>,
    /// Whether the sink takes several keys at once.
    takes_batches: bool,
}

impl<'a, K: Key, V: Aggregate, S: Subject<K, V>> World<'a, K, V, S> {
    pub(super) fn new(props: Props<'a, K, V>, subject: S, seed: u64) -> Self {
        World {
            props,
            subject,
            seed,
            rng: SmallRng::seed_from_u64(seed),
            books: Books::default(),
            numbers: HashMap::new(),
            next_key: 0,
            poisoned: Vec::new(),
            totals: HashMap::new(),
            takes_batches: false,
        }
    }

    pub(super) async fn run(mut self, scenarios: &[Scenario]) -> Report {
        let mut reports = Vec::new();
        for &scenario in scenarios {
            reports.push(match self.obstacle(scenario) {
                Some(why) => ScenarioReport::not_run(scenario, why),
                None => self.play(scenario).await,
            });
        }
        Report::new(self.seed, reports)
    }

    /// Why a scenario cannot be played.
    fn obstacle(&self, scenario: Scenario) -> Option<&'static str> {
        match scenario {
            Scenario::Cancelled if !self.subject.can_cancel() => {
                Some("a blocking callback cannot be cancelled")
            }
            Scenario::Poison if self.props.poison.is_none() && self.props.refuse.is_none() => {
                Some("neither `poison` nor `refuse` was given")
            }
            Scenario::Void if self.props.refuse.is_none() => Some("`refuse` was not given"),
            Scenario::Zombie if !self.props.journaled => Some("`journaled` was not said"),
            _ => None,
        }
    }

    async fn play(&mut self, scenario: Scenario) -> ScenarioReport {
        let salt = (scenario as u64 + 1).wrapping_mul(GOLDEN_RATIO);
        self.rng = SmallRng::seed_from_u64(self.seed.wrapping_add(salt));
        self.books = Books::default();
        self.numbers.clear();
        self.poisoned.clear();
        self.next_key = scenario as u32 * KEYS_OF_A_SCENARIO;
        self.totals.clear();
        for (key, total) in self.subject.read().await {
            *self.totals.entry(key).or_default() += total;
        }
        self.act(scenario).await;
        let changes = self.look().await;
        self.books.strayed(changes);
        let (delivery, calls) = (self.books.delivery(), self.books.calls.len());
        let findings = if delivery == Delivery::ExactlyOnce { Vec::new() } else { findings(&self.books) };
        ScenarioReport::new(scenario, delivery, findings, calls)
    }

    /// Reads the totals, and returns what has changed.
    async fn look(&mut self) -> BTreeMap<u32, i64> {
        let mut totals: HashMap<u32, i64> = HashMap::new();
        for (key, total) in self.subject.read().await {
            if let Some(&number) = self.numbers.get(&key) {
                *totals.entry(number).or_default() += total;
            }
        }
        self.books.look(|key| totals.get(&key).copied().unwrap_or(0))
    }

    /// Starts a process with an instance of its own.
    pub(super) fn start(&mut self) -> Process<K, V> {
        let instance = self.rng.random();
        let callbacks = Callbacks::new(instance, self.subject.make(), Vec::new(), None);
        self.takes_batches = callbacks.takes_batches();
        Process::new(instance, callbacks)
    }

    /// The process dies, and another one takes over its batches.
    pub(super) fn restart(&mut self, process: &mut Process<K, V>) {
        process.callbacks.drop_sink();
        process.restarts += 1;
        process.epoch += 1;
        process.callbacks = Callbacks::new(process.instance, self.subject.make(), Vec::new(), None);
    }

    /// The process is taken for dead, and another one takes over what it had under way. It lives on.
    pub(super) fn take_over(
        &mut self,
        process: &mut Process<K, V>,
        flights: &[Flight<K, V>],
    ) -> (Process<K, V>, Vec<Flight<K, V>>) {
        let callbacks = Callbacks::new(process.instance, self.subject.make(), Vec::new(), None);
        let inherited: Vec<_> = flights.iter().map(Flight::inherit).collect();
        (process.replace(callbacks, &inherited), inherited)
    }

    /// Keys that were not used before.
    pub(super) fn fresh_keys(&mut self, keys: usize) -> Vec<u32> {
        (0..keys).map(|_| self.fresh_key(false)).collect()
    }

    fn fresh_key(&mut self, poisoned: bool) -> u32 {
        let number = self.next_key;
        self.next_key += 1;
        if poisoned {
            self.poisoned.push(number);
        }
        let key = self.key(number);
        self.books.open(number, self.totals.get(&key).copied().unwrap_or(0));
        if let Some(other) = self.numbers.insert(key, number) {
            self.books.clashes.push((other, number));
        }
        number
    }

    /// A key that the storage refuses, until it is healed if it can be.
    pub(super) fn poisoned_key(&mut self) -> u32 {
        self.books.refused = true;
        let key = self.fresh_key(self.props.poison.is_some());
        if self.props.poison.is_none() {
            self.refuse(Some(key));
        }
        key
    }

    fn key(&self, number: u32) -> K {
        match &self.props.poison {
            Some(poison) if self.poisoned.contains(&number) => poison(number),
            _ => (self.props.key)(number),
        }
    }

    /// Whether the storm may do what this scenario does.
    pub(super) fn may(&self, scenario: Scenario) -> bool {
        !self.props.excluded.contains(&scenario)
            && (scenario != Scenario::Cancelled || self.subject.can_cancel())
    }

    pub(super) fn can_refuse(&self) -> bool {
        self.props.refuse.is_some()
    }

    /// Has the storage refuse this key, or none.
    pub(super) fn refuse(&mut self, number: Option<u32>) {
        let key = number.map(|number| self.key(number));
        self.books.refused |= key.is_some();
        if let Some(refuse) = &mut self.props.refuse {
            refuse(key.as_ref());
        }
    }

    /// Inserts into keys, and takes them: one batch, or one for each key if that is how the sink writes.
    pub(super) fn launch(&mut self, process: &mut Process<K, V>, keys: &[u32]) -> Vec<Flight<K, V>> {
        let width = if self.takes_batches { keys.len().max(1) } else { 1 };
        let batches: Vec<Rc<[Lot]>> = keys
            .chunks(width)
            .map(|keys| keys.iter().map(|&key| Lot { key, amount: self.rng.random_range(1..=9) }).collect())
            .collect();
        let mut flights = Vec::new();
        for lots in batches {
            let id = process.reserve();
            // What is inserted where nothing may count any more must not count.
            if !process.replaced {
                self.books.inserted(id, &lots);
            }
            flights.push(self.flight(id, lots, id));
        }
        flights
    }

    /// A batch with this content, not yet sent.
    pub(super) fn flight(&self, id: BatchId, lots: Rc<[Lot]>, origin: BatchId) -> Flight<K, V> {
        let entries = (0..).zip(&*lots).map(|(index, lot)| self.entry(lot, index)).collect();
        let content = Arc::new(Content { id, entries });
        Flight { content, lots, origin, attempts: 0, frozen: false, requeued: 0 }
    }

    pub(super) fn entry(&self, lot: &Lot, index: u32) -> Entry<K, V> {
        let data = (self.props.data)(lot.amount);
        Entry::of(self.key(lot.key), data, lot.amount.unsigned_abs(), FlushReason::Deadline, index)
    }

    /// Makes the next attempt. The answer, if it was heard.
    pub(super) async fn send(
        &mut self,
        process: &Process<K, V>,
        flight: &mut Flight<K, V>,
        luck: Luck,
    ) -> (Sent<K, V>, Option<Answer>) {
        let sent = process.begin(flight);
        let answer = if luck == Luck::UnderWay { None } else { self.deliver(process, &sent, luck).await };
        let answer = answer.filter(|_| luck != Luck::AnswerLost);
        flight.frozen |= answer.is_none();
        (sent, answer)
    }

    /// An attempt arrives at the sink.
    pub(super) async fn deliver(
        &mut self,
        process: &Process<K, V>,
        sent: &Sent<K, V>,
        luck: Luck,
    ) -> Option<Answer> {
        let flush = process.callbacks.flush(&sent.batch);
        let answer = match luck {
            Luck::Cancelled(polls) => cancelled_after(polls, flush).await,
            _ => Some(flush.await),
        };
        let changes = self.look().await;
        self.books.called(sent, luck, answer.as_ref(), changes);
        answer
    }
}
