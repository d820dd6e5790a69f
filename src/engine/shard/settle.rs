use std::hash::Hash;
use std::time::Duration;

use super::super::sequence::Sequence;
use super::super::tick::{self, Tick};
use super::super::timers::State;
use super::super::watch::Reached;
use super::deadlines::Deadline;
use super::insert::Need;
use super::{Flying, Generation, Host, MOST_INSERTS, Pending, Shard};
use crate::aggregate::Aggregate;
use crate::batch::Entry;
use crate::key::KeptHash;

/// How a flying generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The sink has it.
    Flushed,
    /// `handle_error` has dealt with it.
    GaveUp,
    /// It is kept as undelivered. Its room stays in use.
    Kept,
    /// It is on disk only, and not over.
    Spilled,
}

/// What settling one generation set free or in motion.
#[derive(Debug)]
pub(crate) struct Settlement<K, T> {
    /// Room to give back to the pool.
    pub(crate) freed: Need,
    /// The key's newer generation was waiting and is due now.
    pub(crate) due: bool,
    /// A generation was armed for this tick.
    pub(crate) armed: Option<Tick>,
    pub(crate) reached: Reached<T>,
    /// What is kept goes on counting as a key: there is no newer data of its key that does.
    pub(crate) counts_as_key: bool,
    /// Handed out so that they are dropped outside the lock.
    pub(crate) keys: Vec<K>,
}

impl<K, T> Default for Settlement<K, T> {
    fn default() -> Self {
        Settlement {
            freed: Need::default(),
            due: false,
            armed: None,
            reached: Vec::new(),
            counts_as_key: false,
            keys: Vec::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Aggregate, T: Clone + PartialEq> Shard<K, V, T> {
    /// Ends the flights of the entries that `tickets` stand for and adds what this sets free or in
    /// motion to `settlement`. Passes over what is no longer in flight: shutdown has returned it.
    pub(crate) fn settle(&mut self, tickets: &[Ticket], how: Settled, settlement: &mut Settlement<K, T>) {
        let before = settlement.keys.len();
        tickets.iter().for_each(|ticket| self.settle_one(ticket, how, settlement));
        // All at once: what they wait for is looked up, as in `take`, with nothing to be done in between.
        let Settlement { keys, reached, .. } = settlement;
        keys[before..].iter().for_each(|key| self.tell(key, 1, reached));
    }

    fn settle_one(&mut self, ticket: &Ticket, how: Settled, settlement: &mut Settlement<K, T>) {
        let Some(flying) = self.land(ticket) else { return };
        let tally = &mut self.cold.tally;
        match how {
            Settled::Kept => tally.undelivered += ticket.count,
            Settled::Flushed => tally.flushed += ticket.count,
            Settled::GaveUp => tally.gave_up += ticket.count,
            Settled::Spilled => tally.spilled += ticket.count,
        }
        if how != Settled::Kept {
            tally.in_flight -= ticket.count;
            settlement.freed.weight += self.free_weight(ticket.weight);
        }
        if flying.rejoined {
            settlement.due |= self.unpark(&flying);
        } else if how == Settled::Kept {
            settlement.counts_as_key = true;
        } else {
            settlement.freed.keys += self.free_key();
        }
        settlement.keys.push(flying.key);
    }

    /// Ends the flight by putting data back before newer data of its key, due no earlier than an
    /// interval from `now`. What it set free or in motion is added to `settlement`, even if merging
    /// panics.
    pub(crate) fn requeue(
        &mut self,
        ticket: &Ticket,
        data: V,
        now: Duration,
        host: &impl Host<K, V>,
        settlement: &mut Settlement<K, T>,
    ) {
        let Some(flying) = self.land(ticket) else { return };
        self.tell(&flying.key, 1, &mut settlement.reached);
        self.cold.tally.in_flight -= ticket.count;
        self.come_back(ticket.count);
        let cold = &mut *self.cold;
        let deadline = cold.deadlines.draw(now, host.interval(&flying.key, &data, now));
        settlement.armed = Some(settlement.armed.map_or(deadline.tick, |tick| tick.min(deadline.tick)));
        let count = u32::try_from(ticket.count).unwrap_or(MOST_INSERTS);
        if flying.rejoined {
            let merged = self.put_before(&flying, Generation { data, count }, deadline);
            settlement.freed.weight += self.reweigh(merged);
        } else {
            // The key's own methods first: if one panics, there is no timer without a generation.
            let pending = Pending { key: flying.key.clone(), data, count, timer: cold.timers.next() };
            let hash = flying.hash.spread();
            self.pending.insert_unique(hash, pending, |other| host.hash(&other.key).spread());
            let timer = cold.timers.arm(flying.hash, tick::floor(now), deadline.tick);
            cold.deadlines.note(timer, deadline);
            cold.changes.note(timer);
        }
        settlement.keys.push(flying.key);
    }

    /// Merges `older` with the pending generation of its key, or has it flushed first. Returns what the
    /// two weighed and what they weigh now.
    fn put_before(&mut self, flying: &Flying<K>, older: Generation<V>, deadline: Deadline) -> (u64, u64) {
        self.end_leases_of(flying.hash, |key| *key == flying.key);
        let pending = self
            .pending
            .find_mut(flying.hash.spread(), |pending| pending.key == flying.key)
            .unwrap_or_else(|| unreachable!("a rejoined key has a pending generation"));
        self.cold.timers.rearm(pending.timer, deadline.tick);
        self.cold.deadlines.note(pending.timer, deadline);
        self.cold.changes.note(pending.timer);
        let count = pending.inserts().checked_add(older.count).filter(|count| *count <= MOST_INSERTS);
        pending.count = pending.inserts();
        // Closed generations stand between this one and the pending one.
        let merges = !self.cold.closed.contains(&flying.key) && older.data.accepts_merge(&pending.data);
        let (Some(count), true) = (count, merges) else {
            self.cold.watches.put_before(&flying.key);
            self.cold.closed.push_front(&flying.key, older);
            return (0, 0);
        };
        let apart = older.data.weight().saturating_add(pending.data.weight());
        let newer = std::mem::replace(&mut pending.data, older.data);
        pending.count = count;
        pending.data.merge(newer);
        (apart, pending.data.weight())
    }

    /// A flight that was given up goes on: tells those who waited for it. Its mark gets a new place.
    pub(crate) fn fly_on(&mut self, ticket: &Ticket, settlement: &mut Settlement<K, T>) {
        let place = |flying: &Flying<K>| flying.batch == ticket.batch && flying.index == ticket.index;
        let cold = &mut *self.cold;
        if let Some(flying) = cold.flying.find(ticket.hash.spread(), place) {
            cold.watches.settled(&flying.key, 1, &mut settlement.reached);
            // It is still there, before all others.
            cold.watches.put_before(&flying.key);
        }
    }

    /// Whether a generation of an undelivered entry's key is in flight, so that it cannot be offered.
    pub(crate) fn is_flying(&self, entry: &Entry<K, V>) -> bool {
        self.cold.flying.find(entry.hash.spread(), |flying| flying.key == entry.key).is_some()
    }

    /// An undelivered entry, whose key is not in flight, is in flight again. If it does not count as a key
    /// there is credit for one.
    pub(crate) fn take_off_again(
        &mut self,
        entry: &Entry<K, V>,
        batch: Sequence,
        settlement: &mut Settlement<K, T>,
    ) {
        let cold = &mut *self.cold;
        let rejoined = self.pending.find(entry.hash.spread(), |pending| pending.key == entry.key).is_some();
        let (hash, index, count) =
            (entry.hash, entry.index, u32::try_from(entry.count).unwrap_or(MOST_INSERTS));
        let flying = Flying { key: entry.key.clone(), hash, batch, index, count, rejoined };
        cold.flying.insert_unique(hash.spread(), flying, |flying| flying.hash.spread());
        cold.watches.put_before(&entry.key);
        cold.tally.undelivered -= entry.count;
        match (entry.counts_as_key, rejoined) {
            (true, true) => {
                cold.tally.keys -= 1;
                settlement.freed.keys += 1;
            }
            (false, false) => {
                cold.tally.keys += 1;
                cold.key_credit -= 1;
            }
            // Newer data counts already: others may need that room.
            (false, true) => {
                cold.key_credit -= 1;
                settlement.freed.keys += 1;
            }
            (true, false) => {}
        }
    }

    /// Gives the entry at `index` of `batch` a new place, because its batch is split.
    pub(crate) fn rebook(&mut self, hash: KeptHash, from: (Sequence, u32), to: (Sequence, u32)) {
        let flying = self.cold.flying.find_mut(hash.spread(), |flying| (flying.batch, flying.index) == from);
        if let Some(flying) = flying {
            (flying.batch, flying.index) = to;
        }
    }

    /// Takes back all data of a key that is not in flight, oldest first.
    pub(crate) fn remove(
        &mut self,
        hash: KeptHash,
        matches: impl Fn(&K) -> bool,
    ) -> Option<(Vec<V>, Settlement<K, T>)> {
        self.end_leases_of(hash, &matches);
        let found = self.pending.find_entry(hash.spread(), |pending| matches(&pending.key)).ok()?;
        let (pending, _) = found.remove();
        let count = pending.inserts();
        let Pending { key, data, timer, .. } = pending;
        let cold = &mut *self.cold;
        cold.timers.cancel(timer);
        let mut settlement = Settlement::default();
        let flying = cold.flying.find_mut(hash.spread(), |flying| flying.key == key);
        let flies = flying.is_some();
        match flying {
            Some(flying) => flying.rejoined = false,
            None => settlement.freed.keys = self.free_key(),
        }
        let mut removed = Vec::with_capacity(1);
        while let Some(older) = self.cold.closed.pop_front(&key) {
            removed.push(older);
        }
        removed.push(Generation { data, count });
        for generation in &removed {
            self.leave(u64::from(generation.count));
            self.cold.tally.removed += u64::from(generation.count);
            settlement.freed.weight += self.free_weight(generation.data.weight());
            self.tell(&key, 1 + u32::from(flies), &mut settlement.reached);
        }
        settlement.keys.push(key);
        Some((removed.into_iter().map(|generation| generation.data).collect(), settlement))
    }

    /// Undelivered data that was kept after the end is returned.
    pub(crate) fn return_kept(&mut self, entry: &Entry<K, V>) {
        let tally = &mut self.cold.tally;
        tally.undelivered -= entry.count;
        tally.in_flight -= entry.count;
        tally.returned += entry.count;
        tally.keys -= u64::from(entry.counts_as_key);
    }

    fn land(&mut self, ticket: &Ticket) -> Option<Flying<K>> {
        let place = |flying: &Flying<K>| flying.batch == ticket.batch && flying.index == ticket.index;
        let found = self.cold.flying.find_entry(ticket.hash.spread(), place).ok()?;
        Some(found.remove().0)
    }

    /// Counts the generation of `key` that is at this place for those who waited for it.
    fn tell(&mut self, key: &K, place: u32, reached: &mut Reached<T>) {
        if !self.cold.watches.is_empty() {
            self.cold.watches.settled(key, place, reached);
        }
    }

    fn unpark(&mut self, flying: &Flying<K>) -> bool {
        let pending = self
            .pending
            .find(flying.hash.spread(), |pending| pending.key == flying.key)
            .unwrap_or_else(|| unreachable!("a rejoined key has a pending generation"));
        match self.cold.timers.state(pending.timer) {
            State::Parked(reason) => self.cold.timers.queue(pending.timer, reason),
            _ => false,
        }
    }

    /// So much weight is gone. Pays what this partition owes, and returns what is free for others.
    fn free_weight(&mut self, weight: u64) -> u64 {
        let gone = weight.min(self.used_weight());
        let paid = gone.min(self.owed_weight());
        self.busy.weight_credit += paid as i64;
        self.cold.weight_granted -= gone - paid;
        gone - paid
    }

    /// What weighed `before` weighs `after`. Returns what is free for others.
    fn reweigh(&mut self, (before, after): (u64, u64)) -> u64 {
        self.busy.use_weight(after.saturating_sub(before));
        self.free_weight(before.saturating_sub(after))
    }

    fn free_key(&mut self) -> u64 {
        self.cold.tally.keys -= 1;
        1
    }
}

/// What is left of an entry whose data has been handed to `handle_error`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) partition: u32,
    pub(crate) hash: KeptHash,
    pub(crate) batch: Sequence,
    pub(crate) index: u32,
    pub(crate) count: u64,
    pub(crate) weight: u64,
}

impl<K, V> Entry<K, V> {
    /// The entry's place, for when it has been given away.
    pub(crate) fn ticket(&self, batch: Sequence) -> Ticket {
        let Entry { partition, hash, count, weight, index, .. } = *self;
        Ticket { partition, hash, batch, index, count, weight }
    }
}
