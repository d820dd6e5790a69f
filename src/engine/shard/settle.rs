use std::hash::Hash;
use std::time::Duration;

use super::super::tick::{self, Tick};
use super::super::timers::State;
use super::super::watch::Reached;
use super::deadlines::Deadline;
use super::insert::Need;
use super::take::is_asked_for;
use super::{Flying, Generation, Host, Pending, Shard, spread};
use crate::aggregate::Aggregate;
use crate::batch::{Entry, FlushReason};

/// How a flying generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The sink has it.
    Flushed,
    /// `handle_error` has dealt with it.
    GaveUp,
    /// It is returned to the caller of `shutdown`.
    Returned,
    /// Nobody took it: the driver keeps it until shutdown. Its room stays in use.
    Kept,
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
    /// Handed out so that they are dropped outside the lock.
    pub(crate) keys: Vec<K>,
}

impl<K, T> Default for Settlement<K, T> {
    fn default() -> Self {
        Settlement { freed: Need::default(), due: false, armed: None, reached: Vec::new(), keys: Vec::new() }
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
            Settled::Returned => tally.returned += ticket.count,
        }
        if how != Settled::Kept {
            tally.in_flight -= ticket.count;
            settlement.freed.weight += self.free_weight(ticket.weight);
        }
        if flying.rejoined {
            settlement.due |= self.unpark(&flying);
        } else if how == Settled::Kept {
            self.cold.tally.kept_keys += 1;
        } else {
            settlement.freed.keys += self.free_key();
        }
        settlement.keys.push(flying.key);
    }

    /// Ends the flight by putting data back before newer data of its key, due no earlier than an
    /// interval from `now`. `data` is what the handler made of the entry's data. What it set free or
    /// in motion is added to `settlement`, even if merging panics.
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
        let cold = &mut **self.cold;
        let deadline = cold.deadlines.draw(now, host.interval(&flying.key, &data, now));
        settlement.armed = Some(deadline.tick);
        let count = u32::try_from(ticket.count).unwrap_or(u32::MAX);
        let weight_now = data.weight();
        let merged_away = if flying.rejoined {
            self.put_before(&flying, Generation { data, count }, deadline)
        } else {
            // The key's own methods first: if one panics, there is no timer without a generation.
            let pending = Pending { key: flying.key.clone(), data, count, timer: cold.timers.next() };
            let hash = spread(flying.hash);
            self.pending.insert_unique(hash, pending, |other| spread(host.hash(&other.key)));
            let timer = cold.timers.arm(flying.hash, tick::floor(now), deadline.tick);
            cold.deadlines.note(timer, deadline);
            0
        };
        let surplus = (ticket.weight + merged_away).saturating_sub(weight_now);
        settlement.freed.weight += self.free_weight(surplus);
        settlement.keys.push(flying.key);
    }

    /// Merges `older` with the pending generation of its key, or has it flushed first. Returns by
    /// how much the two weigh less together.
    fn put_before(&mut self, flying: &Flying<K>, older: Generation<V>, deadline: Deadline) -> u64 {
        let pending = self
            .pending
            .find_mut(spread(flying.hash), |pending| pending.key == flying.key)
            .unwrap_or_else(|| unreachable!("a rejoined key has a pending generation"));
        self.cold.timers.rearm(pending.timer, deadline.tick);
        self.cold.deadlines.note(pending.timer, deadline);
        let count = pending.count.checked_add(older.count);
        // Closed generations stand between this one and the pending one.
        let merges = !self.cold.closed.contains(&flying.key) && older.data.accepts_merge(&pending.data);
        let (Some(count), true) = (count, merges) else {
            self.cold.closed.push_front(&flying.key, older);
            return 0;
        };
        let apart = older.data.weight() + pending.data.weight();
        let newer = std::mem::replace(&mut pending.data, older.data);
        pending.count = count;
        pending.data.merge(newer);
        apart.saturating_sub(pending.data.weight())
    }

    /// Gives the entry at `index` of `batch` a new place, because its batch is split.
    pub(crate) fn rebook(&mut self, hash: u32, from: (u64, u32), to: (u64, u32)) {
        let flying = self.cold.flying.find_mut(spread(hash), |flying| (flying.batch, flying.index) == from);
        if let Some(flying) = flying {
            (flying.batch, flying.index) = to;
        }
    }

    /// Takes back the oldest data of a key that is not in flight.
    pub(crate) fn remove(
        &mut self,
        hash: u32,
        matches: impl Fn(&K) -> bool,
    ) -> Option<(V, Settlement<K, T>)> {
        let found = self.pending.find_entry(spread(hash), |pending| matches(&pending.key)).ok()?;
        let timer = found.get().timer;
        let older = self.cold.closed.pop_front(&found.get().key);
        let mut settlement = Settlement::default();
        let flies = self.cold.flying.find(spread(hash), |flying| flying.key == found.get().key).is_some();
        let (key, data, count) = match older {
            Some(older) => {
                let (key, newest) = (found.get().key.clone(), found.get().count);
                settlement.armed = self.let_newest_wait(timer, &key, newest);
                (key, older.data, older.count)
            }
            None => {
                let (pending, _) = found.remove();
                self.cold.timers.cancel(timer);
                let flying = self.cold.flying.find_mut(spread(hash), |flying| flying.key == pending.key);
                match flying {
                    Some(flying) => flying.rejoined = false,
                    None => settlement.freed.keys = self.free_key(),
                }
                (pending.key, pending.data, pending.count)
            }
        };
        self.leave(u64::from(count));
        self.cold.tally.removed += u64::from(count);
        settlement.freed.weight = self.free_weight(data.weight());
        self.tell(&key, 1 + u32::from(flies), &mut settlement.reached);
        settlement.keys.push(key);
        Some((data, settlement))
    }

    /// If a pending generation was due only for the sake of older ones that are gone, gives it its
    /// own deadline back and returns that.
    fn let_newest_wait(&mut self, timer: u32, key: &K, count: u32) -> Option<Tick> {
        let cold = &mut **self.cold;
        let (State::Queued(reason) | State::Parked(reason)) = cold.timers.state(timer) else { return None };
        if cold.closed.contains(key) || is_asked_for(reason, count, cold.deadlines.flush_at()) {
            return None;
        }
        let deadline = cold.timers.deadline(timer);
        cold.timers.rearm(timer, deadline);
        Some(deadline)
    }

    /// Empties the table for shutdown: hands out every pending generation, oldest first per key.
    pub(crate) fn abandon(&mut self) -> Vec<Entry<K, V>> {
        let cold = &mut **self.cold;
        let mut left = Vec::with_capacity(self.pending.len());
        for pending in self.pending.drain() {
            let hash = cold.timers.hash(pending.timer);
            cold.timers.cancel(pending.timer);
            let flying = cold.flying.find_mut(spread(hash), |flying| flying.key == pending.key);
            match flying {
                Some(flying) => flying.rejoined = false,
                None => cold.tally.keys -= 1,
            }
            let mut entry = |key: K, data: V, count: u32| {
                let (count, weight) = (u64::from(count), data.weight());
                cold.tally.left_pending += count;
                cold.settled_inserts = cold.settled_inserts.saturating_sub(count);
                cold.tally.returned += count;
                // What is drawn and not used stays drawn, whatever the aggregate says it weighs.
                cold.weight_granted = cold.weight_granted.saturating_sub(weight).max(self.busy.weight_credit);
                let reason = FlushReason::Shutdown;
                left.push(Entry { key, data, count, weight, reason, hash, partition: cold.partition });
            };
            while let Some(older) = cold.closed.pop_front(&pending.key) {
                entry(pending.key.clone(), older.data, older.count);
            }
            entry(pending.key, pending.data, pending.count);
        }
        left
    }

    /// Undelivered data is returned by shutdown.
    pub(crate) fn return_kept(&mut self, count: u64, weight: u64) {
        let tally = &mut self.cold.tally;
        tally.undelivered -= count;
        tally.in_flight -= count;
        tally.returned += count;
        // All of them are returned together, so it does not matter which of them held a key's place.
        let held = tally.kept_keys.min(1);
        tally.kept_keys -= held;
        tally.keys -= held;
        self.free_weight(weight);
    }

    fn land(&mut self, ticket: &Ticket) -> Option<Flying<K>> {
        let place = |flying: &Flying<K>| flying.batch == ticket.batch && flying.index == ticket.index;
        let found = self.cold.flying.find_entry(spread(ticket.hash), place).ok()?;
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
            .find(spread(flying.hash), |pending| pending.key == flying.key)
            .unwrap_or_else(|| unreachable!("a rejoined key has a pending generation"));
        match self.cold.timers.state(pending.timer) {
            State::Parked(reason) => self.cold.timers.queue(pending.timer, reason),
            _ => false,
        }
    }

    fn free_weight(&mut self, weight: u64) -> u64 {
        let unused = self.busy.weight_credit;
        let freed = weight.min(self.cold.weight_granted.saturating_sub(unused));
        self.cold.weight_granted -= freed;
        freed
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
    pub(crate) hash: u32,
    pub(crate) batch: u64,
    pub(crate) index: u32,
    pub(crate) count: u64,
    pub(crate) weight: u64,
}

impl<K, V> Entry<K, V> {
    /// The entry's place, for when it has been given away.
    pub(crate) fn ticket(&self, batch: u64, index: u32) -> Ticket {
        let Entry { partition, hash, count, weight, .. } = *self;
        Ticket { partition, hash, batch, index, count, weight }
    }
}
