//! What becomes of keys whose attempts are spent: `handle_error`, and what that decides.

use std::hash::BuildHasher;
use std::slice;
use std::sync::{Arc, PoisonError};

use super::complete::Attempt;
use super::core::{Core, Key};
use crate::aggregate::Aggregate;
use crate::batch::{Entry, FlushReason};
use crate::data_buffer::{FailedFlush, Rescued, Verdict};
use crate::engine::shard::{Settled, Settlement, Ticket};
use crate::failure::FlushFailure;
use crate::undelivered::{Undelivered, UndeliveredState};

/// A key that is not to be tried again, with its place in the batch.
pub(super) struct GivenUp<K, V> {
    pub(super) index: u32,
    pub(super) entry: Entry<K, V>,
    pub(super) failure: FlushFailure,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Hands each key to `handle_error`; after that the batch is over.
    pub(super) async fn give_up(&self, attempt: &Attempt<'_>, given_up: Vec<GivenUp<K, V>>) {
        let mut farewell = Farewell { core: self, attempt, left: given_up.into_iter() };
        for given_up in farewell.left.by_ref() {
            self.hand_over(attempt, given_up).await;
        }
    }

    async fn hand_over(&self, attempt: &Attempt<'_>, given_up: GivenUp<K, V>) {
        let GivenUp { index, entry, failure } = given_up;
        let (batch, attempts) = (attempt.event.batch, attempt.event.attempt);
        let (name, count) = (&self.config.name, entry.count);
        self.callbacks.observe(|observer| observer.gave_up(name, count, attempts, &failure));
        let rescued = Rescued::default();
        let ticket = entry.ticket(attempt.sequence, index);
        let origin = Origin { ticket, reason: entry.reason, failure: failure.clone() };
        let failed = FailedFlush::new(entry, batch, attempts, failure, Arc::clone(&rescued));
        let mut handed = Handed { core: self, attempt, origin: Some(origin), rescued, verdict: None };
        handed.verdict = self.callbacks.handle_error(failed).await;
    }

    /// Returns the table's own copy of the key.
    fn settle_failed(&self, ticket: &Ticket, how: Settled, failure: &FlushFailure) -> Option<K> {
        let mut settlement = Settlement::default();
        self.shard(ticket.partition as usize).settle(slice::from_ref(ticket), how, &mut settlement);
        let key = settlement.keys.pop();
        self.follow_settlement(settlement, Some(failure));
        key
    }

    fn requeue(&self, attempt: &Attempt<'_>, origin: Origin, data: V) {
        let Origin { ticket, reason, failure } = origin;
        let now = self.clock.now();
        let mut shard = self.shard(ticket.partition as usize);
        if shard.is_open() {
            // Merging is the user's code and may panic; the other keys of the batch must not suffer.
            let mut settlement = Settlement::default();
            let _ = self.callbacks.call(|| {
                shard.requeue(&ticket, data, now, self, &mut settlement);
            });
            drop(shard);
            self.follow_settlement(settlement, Some(&failure));
            return;
        }
        drop(shard);
        if let Some(key) = self.settle_failed(&ticket, Settled::Kept, &failure) {
            let Ticket { partition, hash, count, weight, .. } = ticket;
            self.keep(attempt, Entry { key, data, count, weight, reason, hash, partition }, failure);
        }
    }

    /// Keeps for `shutdown` what `handle_error` did not deal with.
    fn keep(&self, attempt: &Attempt<'_>, entry: Entry<K, V>, failure: FlushFailure) {
        let inserts = entry.count;
        let state = UndeliveredState::Unhandled { attempts: attempt.event.attempt, failure };
        self.undelivered.lock().push(Undelivered::own(entry, Some(attempt.event.batch), state));
        self.callbacks.observe(|observer| observer.undelivered(&self.config.name, 1, inserts));
    }
}

/// The keys that are still to be handed over. Dropped before that, because a runtime shuts down, it
/// keeps them.
struct Farewell<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    attempt: &'a Attempt<'a>,
    left: std::vec::IntoIter<GivenUp<K, V>>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Farewell<'_, K, V, S> {
    fn drop(&mut self) {
        let (core, attempt) = (self.core, self.attempt);
        for GivenUp { index, entry, failure } in self.left.by_ref() {
            core.settle_failed(&entry.ticket(attempt.sequence, index), Settled::Kept, &failure);
            core.keep(attempt, entry, failure);
        }
        let content = core.flights.lock().remove(attempt.sequence);
        core.let_go(content);
    }
}

/// Where a key comes from that `handle_error` has.
struct Origin {
    ticket: Ticket,
    reason: FlushReason,
    failure: FlushFailure,
}

/// A key in the hands of `handle_error`. Settled when this is dropped: as the verdict says, or, if
/// there is none because it panicked or its runtime shut down, by whether it had taken the data out.
struct Handed<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    attempt: &'a Attempt<'a>,
    /// Taken when it is settled.
    origin: Option<Origin>,
    rescued: Rescued<K, V>,
    verdict: Option<Verdict<V>>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Handed<'_, K, V, S> {
    fn drop(&mut self) {
        let Some(origin) = self.origin.take() else { return };
        let (core, Origin { ticket, failure, .. }) = (self.core, &origin);
        let rescued = self.rescued.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (self.verdict.take(), rescued) {
            (None, Some(entry)) => {
                core.settle_failed(ticket, Settled::Kept, failure);
                core.keep(self.attempt, entry, origin.failure);
            }
            (verdict, left) => {
                match verdict {
                    Some(Verdict::Requeue(data)) => core.requeue(self.attempt, origin, data),
                    Some(Verdict::Done) | None => drop(core.settle_failed(ticket, Settled::GaveUp, failure)),
                }
                core.let_go(left);
            }
        }
    }
}
