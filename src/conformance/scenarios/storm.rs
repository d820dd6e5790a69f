//! Everything at random.

use rand::RngExt;

use super::super::books::Luck;
use super::super::process::{Flight, Process, Sent};
use super::super::scenario::Scenario;
use super::super::subject::Subject;
use super::super::world::{Answer, World};
use super::KEYS;
use crate::aggregate::Aggregate;
use crate::failure::{Effect, Scope};
use crate::key::Key;

const STEPS: usize = 300;
/// Batches in flight of one process.
const MOST_FLIGHTS: usize = 6;
/// Attempts that may still arrive.
const MOST_ECHOES: usize = 12;

/// Whether an attempt with this answer can arrive once more: not if its sink has seen it fail for certain.
pub(super) fn may_arrive_again(answer: Option<&Answer>) -> bool {
    match answer {
        None | Some(Ok(())) => true,
        Some(Err(Scope::Batch(failure))) => failure.effect == Effect::Unknown,
        Some(Err(Scope::Entries(_))) => false,
    }
}

/// A process with all that it has under way.
struct Busy<K, V> {
    process: Process<K, V>,
    flights: Vec<Flight<K, V>>,
    echoes: Vec<Sent<K, V>>,
}

impl<K: 'static, V: 'static> Busy<K, V> {
    /// Those of the keys that are in no batch.
    fn idle(&self, keys: &[u32]) -> Vec<u32> {
        let flies =
            |key: &u32| self.flights.iter().any(|flight| flight.lots.iter().any(|lot| lot.key == *key));
        keys.iter().copied().filter(|key| !flies(key)).collect()
    }
}

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    pub(super) async fn storm(&mut self) {
        let keys = self.fresh_keys(3 * KEYS);
        let instances = if self.may(Scenario::Instances) { 2 } else { 1 };
        let calm = |process| Busy { process, flights: Vec::new(), echoes: Vec::new() };
        let mut busy: Vec<_> = (0..instances).map(|_| calm(self.start())).collect();
        for _ in 0..STEPS {
            let which = self.rng.random_range(0..busy.len());
            self.step(&mut busy[which], &keys).await;
        }
        self.refuse(None);
        for Busy { mut process, flights, echoes } in busy {
            self.finish(&mut process, flights).await;
            self.deliver_well(&mut process, &keys).await;
            self.arrive(&process, echoes).await;
            process.retire().await;
        }
    }

    async fn step(&mut self, busy: &mut Busy<K, V>, keys: &[u32]) {
        match self.rng.random_range(0..100) {
            0..30 => self.take_off(busy, keys),
            30..75 => self.attempt(busy).await,
            75..88 => self.echo(busy).await,
            88..91 if self.may(Scenario::Restart) => {
                self.restart(&mut busy.process);
                busy.flights.iter_mut().for_each(|flight| flight.attempts = 0);
            }
            91..94 => busy.process.skip(1_000),
            94.. if self.can_refuse() && self.may(Scenario::Void) => {
                let key = keys[self.rng.random_range(0..keys.len())];
                let heals: bool = self.rng.random();
                self.refuse(Some(key).filter(|_| !heals));
            }
            _ => {}
        }
    }

    fn take_off(&mut self, busy: &mut Busy<K, V>, keys: &[u32]) {
        if busy.flights.len() >= MOST_FLIGHTS {
            return;
        }
        let mut idle = busy.idle(keys);
        let size = self.rng.random_range(1..=KEYS);
        let mut taken = Vec::new();
        while taken.len() < size && !idle.is_empty() {
            taken.push(idle.swap_remove(self.rng.random_range(0..idle.len())));
        }
        if !taken.is_empty() {
            busy.flights.extend(self.launch(&mut busy.process, &taken));
        }
    }

    async fn attempt(&mut self, busy: &mut Busy<K, V>) {
        if busy.flights.is_empty() {
            return;
        }
        let mut flight = busy.flights.swap_remove(self.rng.random_range(0..busy.flights.len()));
        let luck = self.luck();
        let (sent, answer) = self.send(&busy.process, &mut flight, luck).await;
        if may_arrive_again(answer.as_ref()) {
            busy.echoes.push(sent);
            if busy.echoes.len() > MOST_ECHOES {
                busy.echoes.remove(0);
            }
        }
        busy.flights.extend(self.follow(&mut busy.process, flight, answer).await);
    }

    fn luck(&mut self) -> Luck {
        match self.rng.random_range(0..10) {
            5..7 if self.may(Scenario::AnswerLost) => Luck::AnswerLost,
            7..9 if self.may(Scenario::Overtaken) => Luck::UnderWay,
            9 if self.may(Scenario::Cancelled) => Luck::Cancelled(self.rng.random_range(1..=5)),
            _ => Luck::Heard,
        }
    }

    async fn echo(&mut self, busy: &mut Busy<K, V>) {
        if busy.echoes.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..busy.echoes.len());
        let echo = busy.echoes[index].clone();
        if self.rng.random() {
            busy.echoes.swap_remove(index);
        }
        self.arrive(&busy.process, vec![echo]).await;
    }
}
