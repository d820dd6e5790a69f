//! What follows an answer, as in a buffer: what is decided is decided by the buffer's own code.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::books::Luck;
use super::process::{Flight, Lot, Process};
use super::subject::Subject;
use super::world::{Answer, World};
use crate::aggregate::Aggregate;
use crate::dead_letter::About;
use crate::engine::retry::{Attempt, Next, RetryPolicy};
use crate::failure::{Effect, FailedEntry, Failure, Scope};
use crate::key::Key;

/// How often a batch is tried before it is given up.
const ATTEMPTS: u32 = 4;

impl<K: Key, V: Aggregate, S: Subject<K, V>> World<'_, K, V, S> {
    /// Sends batches, and what becomes of them, until all are settled. Nothing else goes wrong.
    pub(super) async fn finish(&mut self, process: &mut Process<K, V>, mut flights: Vec<Flight<K, V>>) {
        while let Some(mut flight) = flights.pop() {
            let (_, answer) = self.send(process, &mut flight, Luck::Heard).await;
            flights.extend(self.follow(process, flight, answer).await);
        }
    }

    /// Acts upon an answer. What is to be sent after that.
    pub(super) async fn follow(
        &mut self,
        process: &mut Process<K, V>,
        flight: Flight<K, V>,
        answer: Option<Answer>,
    ) -> Vec<Flight<K, V>> {
        match answer {
            None => vec![flight],
            Some(Ok(())) => {
                process.end(flight.id());
                Vec::new()
            }
            Some(Err(Scope::Batch(failure))) => self.batch_failed(process, flight, failure).await,
            Some(Err(Scope::Entries(failed))) => self.entries_failed(process, flight, failed).await,
        }
    }

    async fn batch_failed(
        &mut self,
        process: &mut Process<K, V>,
        mut flight: Flight<K, V>,
        failure: Failure,
    ) -> Vec<Flight<K, V>> {
        flight.frozen = failure.effect.may_be_applied(flight.frozen);
        match next(&failure, &flight, flight.lots.len(), flight.frozen) {
            Next::Again(_) => vec![flight],
            Next::Split(_) => {
                let halves = flight.lots.split_at(flight.lots.len() / 2);
                let halves = [halves.0, halves.1].into_iter().filter(|half| !half.is_empty());
                let parts = halves.map(|half| self.part(process, &flight, half, false)).collect();
                process.end(flight.id());
                parts
            }
            Next::GiveUp => {
                let about = about(process.epoch, &flight, failure, flight.frozen);
                self.give_up(process, flight, about).await
            }
        }
    }

    async fn entries_failed(
        &mut self,
        process: &mut Process<K, V>,
        flight: Flight<K, V>,
        failed: Vec<FailedEntry>,
    ) -> Vec<Flight<K, V>> {
        let failed: BTreeMap<u32, Failure> =
            failed.into_iter().map(|FailedEntry { index, failure }| (index, failure)).collect();
        let (mut on, mut given_up) = (Vec::new(), Vec::new());
        for (index, failure) in failed {
            let frozen = failure.effect == Effect::Unknown;
            let lot = flight.lots[index as usize];
            let part = self.part(process, &flight, &[lot], frozen);
            match next(&failure, &flight, 1, false) {
                Next::GiveUp => given_up.push((part, failure)),
                Next::Again(_) | Next::Split(_) => on.push(part),
            }
        }
        process.end(flight.id());
        for (part, failure) in given_up {
            let about = about(process.epoch, &part, failure, false);
            on.extend(self.give_up(process, part, about).await);
        }
        on
    }

    /// Some keys of a batch go on under an id of their own.
    fn part(
        &self,
        process: &mut Process<K, V>,
        whole: &Flight<K, V>,
        lots: &[Lot],
        frozen: bool,
    ) -> Flight<K, V> {
        let part = self.flight(process.reserve(), Rc::from(lots), whole.origin);
        Flight { attempts: whole.attempts, requeued: whole.requeued, frozen, ..part }
    }
}

fn next<K, V>(failure: &Failure, flight: &Flight<K, V>, keys: usize, frozen: bool) -> Next {
    let attempt = Attempt { number: flight.attempts, keys, frozen, draining: false, whole: false };
    RetryPolicy::fixed(ATTEMPTS, Duration::ZERO).next(failure, attempt, 0.0)
}

fn about<K, V>(epoch: u64, flight: &Flight<K, V>, failure: Failure, frozen: bool) -> About {
    let may_be_applied = failure.effect.may_be_applied(frozen);
    About { batch: flight.id(), epoch, attempts: flight.attempts, cause: failure.cause, may_be_applied }
}
