//! What nobody wanted: kept as undelivered, and offered again.

use std::hash::BuildHasher;
use std::slice;
use std::sync::Arc;

use super::Held;
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry};
use crate::dead_letter::About;
use crate::driver::core::Core;
use crate::driver::sync::unwrap_soon;
use crate::driver::wait::life::Phase;
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::flights::{Past, Presence};
use crate::engine::sequence::Sequence;
use crate::engine::shard::{Need, Settled, Settlement};
use crate::failure::FailureCause;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Puts entries of a batch back before newer data of their keys; `failure` is told to those who waited for
    /// them. Returns those that cannot be put back any more, because the buffer is closed.
    pub(super) fn put_back(
        &self,
        entries: Vec<Entry<K, V>>,
        batch: Sequence,
        failure: Option<&FailureCause>,
    ) -> Vec<Entry<K, V>> {
        let mut stay = Vec::new();
        for entry in entries {
            let now = self.clock.now();
            let ticket = entry.ticket(batch);
            let mut shard = self.intake.shard(ticket.partition);
            if !shard.is_open() {
                drop(shard);
                stay.push(entry);
                continue;
            }
            // Merging is the user's code and may panic; the other keys of the batch must not suffer.
            let mut settlement = Settlement::default();
            let Entry { key, data, .. } = entry;
            let _ = self.callbacks.call(|| shard.requeue(&ticket, data, now, self, &mut settlement));
            drop(shard);
            self.callbacks.let_go(key);
            self.follow_settlement(settlement, failure);
        }
        stay
    }

    /// Keeps entries of a batch as undelivered; ends the flight if there are none.
    pub(super) fn keep(&self, mut entries: Vec<Entry<K, V>>, about: &About, whole: bool) {
        let sequence = Sequence::of(about.batch);
        if entries.is_empty() {
            return self.end_flight(sequence);
        }
        let (keys, inserts) = (entries.len(), entries.iter().map(Entry::count).sum());
        let mut settlement = Settlement::default();
        {
            // Nothing is put aside between the end of a flight and the batch's new stage.
            let _assembly = self.dispatch.assembly.lock();
            for (index, entry) in (0..).zip(&mut entries) {
                let ticket = entry.ticket(sequence);
                let mut shard = self.intake.shard(ticket.partition);
                settlement.counts_as_key = false;
                shard.settle(slice::from_ref(&ticket), Settled::Kept, &mut settlement);
                (entry.index, entry.counts_as_key) = (index, settlement.counts_as_key);
            }
            let content = Arc::new(Content { id: about.batch, entries });
            self.dispatch.flights.lock().keep(sequence, content, about.may_be_applied, whole);
        }
        self.follow_settlement(settlement, Some(&about.cause));
        self.callbacks.observe(|observer| observer.undelivered(&self.settings.name, keys, inserts));
    }

    /// Offers everything that is kept as undelivered again. Returns how many keys are on their way.
    pub(crate) fn retry_undelivered(&self) -> usize {
        let offerable = self.dispatch.flights.lock().offerable();
        let offered = offerable.into_iter().map(|sequence| self.offer(sequence)).sum();
        self.dispatch.doorbell.ring();
        offered
    }

    /// Offers a batch that is kept, unless one of its keys has newer data in flight, or there is no room for
    /// keys that do not count as such.
    fn offer(&self, sequence: Sequence) -> usize {
        let Presence::Here(content) = self.dispatch.content(sequence) else { return 0 };
        let wanted = uncounted(&content.entries);
        drop(content);
        // Under no lock: it may wake others.
        let Some(room) = self.intake.draw_keys(wanted) else { return 0 };
        let mut settlement = Settlement::default();
        let Some((content, past)) = self.take_off_again(sequence, room, &mut settlement) else {
            self.intake.give_room(Need { keys: room, weight: 0 });
            return 0;
        };
        self.intake.give_room(settlement.freed);
        let keys = content.entries.len();
        if !past.frozen {
            let Past { attempts, cause, .. } = past;
            let Content { id: batch, entries } = unwrap_soon(content);
            let about = About { batch, epoch: self.epoch, attempts, cause, may_be_applied: false };
            // No attempt has been made, so there is nothing to tell.
            let stay = self.put_back(entries, sequence, None);
            self.keep(stay, &about, true);
        }
        keys
    }

    /// Takes a kept batch out, with room for so many keys that do not count as such. Readies it if it has to
    /// be sent as it is.
    fn take_off_again(
        &self,
        sequence: Sequence,
        room: u64,
        settlement: &mut Settlement<K, WaiterRef>,
    ) -> Option<(Held<K, V>, Past)> {
        // Nothing else takes off or is put aside meanwhile.
        let _assembly = self.dispatch.assembly.lock();
        let Presence::Here(content) = self.dispatch.content(sequence) else { return None };
        let busy = |entry: &Entry<K, V>| self.intake.shard(entry.partition).is_flying(entry);
        if self.life.phase() > Phase::Open || content.entries.iter().any(busy) {
            return None;
        }
        // Somebody else may have offered it, and it may have been kept again, since the room was drawn.
        let surplus = room.checked_sub(uncounted(&content.entries))?;
        drop(content);
        let (content, past) = self.dispatch.flights.lock().take_back(sequence)?;
        for entry in &content.entries {
            let mut shard = self.intake.shard(entry.partition);
            if !entry.counts_as_key {
                shard.grant(Need { keys: 1, weight: 0 });
            }
            shard.take_off_again(entry, sequence, settlement);
        }
        settlement.freed.keys += surplus;
        if past.frozen {
            self.dispatch.flights.lock().offer(sequence, Arc::clone(&content));
        }
        Some((content, past))
    }
}

/// How many of them do not count as keys.
fn uncounted<K, V>(entries: &[Entry<K, V>]) -> u64 {
    entries.iter().filter(|entry| !entry.counts_as_key).count() as u64
}
