use std::hash::Hash;

use super::super::sequence::Sequence;
use super::super::tick::Tick;
use super::super::timers::TimerId;
use super::{Flying, Shard};
use crate::aggregate::Aggregate;
use crate::batch::{Entry, FlushReason};
use crate::key::KeptHash;

/// Whether what made a key due is meant for its pending generation too, and not only for those
/// closed before it.
pub(super) fn is_asked_for(reason: FlushReason, count: u32, flush_at_count: u32) -> bool {
    match reason {
        FlushReason::Deadline | FlushReason::Size => count >= flush_at_count,
        // A later one that is closed in its turn leaves by size.
        FlushReason::Complete => true,
        FlushReason::Requested | FlushReason::Volume | FlushReason::Pressure | FlushReason::Shutdown => true,
    }
}

/// A generation that is due, and where in the table it is.
struct Due {
    timer: TimerId,
    hash: KeptHash,
    reason: FlushReason,
    bucket: usize,
}

/// Which batches entries become part of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbering {
    /// All of this one.
    Together(Sequence),
    /// Each of one of its own; this is the first.
    Apart(Sequence),
}

impl Numbering {
    /// The batch of the next entry, and its place there.
    fn place(self, taken: usize) -> (Sequence, u32) {
        match self {
            Numbering::Together(batch) => (batch, taken as u32),
            Numbering::Apart(first) => (first.after(taken), 0),
        }
    }
}

/// What a request to flush found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Request {
    /// Something became due.
    pub(crate) due: bool,
    /// Generations that have to be settled before all of it is out, less those that the waiter has
    /// been waiting for already.
    pub(crate) outstanding: u32,
}

impl<K: Hash + Eq + Clone, V: Aggregate, T: Clone + PartialEq> Shard<K, V, T> {
    /// Moves due generations out of the table and into a batch, at most `limit` looks at the due
    /// queue in one call. Says whether more is due.
    ///
    /// All of them are found before the first is moved. Memory is what this waits for, and a processor
    /// asks for several places at once where little is to be done between one and the next.
    pub(crate) fn take(
        &mut self,
        now: Tick,
        limit: usize,
        numbering: Numbering,
        entries: &mut Vec<Entry<K, V>>,
    ) -> bool {
        if !self.has_due() {
            return false;
        }
        self.end_due_leases(limit);
        let mut found = Vec::with_capacity(limit);
        found.extend(self.cold.timers.due().take(limit).map(|due| self.find(due)));
        found.into_iter().for_each(|due| self.take_one(due, now, numbering, entries));
        self.has_due()
    }

    #[inline]
    fn find(&self, (timer, hash, reason): (TimerId, KeptHash, FlushReason)) -> Due {
        Due { timer, hash, reason, bucket: self.bucket_of(timer, hash) }
    }

    #[inline]
    fn bucket_of(&self, timer: TimerId, hash: KeptHash) -> usize {
        self.pending
            .find_bucket_index(hash.spread(), |pending| pending.timer == timer)
            .unwrap_or_else(|| unreachable!("every live timer belongs to a pending generation"))
    }

    fn take_one(&mut self, due: Due, now: Tick, numbering: Numbering, entries: &mut Vec<Entry<K, V>>) {
        let Due { timer, hash, reason, bucket } = due;
        // No table promises that what is taken out of it leaves all others where they are.
        let stayed = self.pending.get_bucket(bucket).is_some_and(|pending| pending.timer == timer);
        let bucket = if stayed { bucket } else { self.bucket_of(timer, hash) };
        let cold = &mut *self.cold;
        let found = self.pending.get_bucket_entry(bucket).unwrap_or_else(|_| unreachable!("it is there"));
        let key = &found.get().key;
        if cold.flying.find(hash.spread(), |flying| flying.key == *key).is_some() {
            cold.timers.park(timer, reason);
            return;
        }
        let late = match reason {
            FlushReason::Deadline => now.saturating_sub(cold.timers.deadline(timer)),
            _ => 0,
        };
        let flying_key = key.clone();
        let (key, data, count, rejoined) = match cold.closed.pop_front(key) {
            Some(older) => {
                if cold.closed.contains(key)
                    || is_asked_for(reason, found.get().inserts(), cold.deadlines.flush_at_count())
                {
                    cold.timers.park(timer, reason);
                } else {
                    // The pending one keeps its own deadline.
                    let deadline = cold.timers.deadline(timer).max(now);
                    cold.timers.rearm(timer, deadline);
                }
                cold.changes.note_rest(timer);
                (key.clone(), older.data, older.count, true)
            }
            None => {
                let (pending, _) = found.remove();
                cold.timers.cancel(timer);
                let count = pending.inserts();
                (pending.key, pending.data, count, false)
            }
        };
        let (batch, index) = numbering.place(entries.len());
        let flying = Flying { key: flying_key, hash, batch, index, count, rejoined };
        entries.push(self.take_off(flying, key, data, (reason, late)));
    }

    /// Marks a generation as in flight and makes it a batch's entry.
    fn take_off(
        &mut self,
        flying: Flying<K>,
        key: K,
        data: V,
        (reason, late): (FlushReason, Tick),
    ) -> Entry<K, V> {
        let (hash, index, count) = (flying.hash, flying.index, u64::from(flying.count));
        self.cold.flying.insert_unique(hash.spread(), flying, |flying| flying.hash.spread());
        self.leave(count);
        self.cold.tally.in_flight += count;
        let weight = data.weight();
        Entry {
            key,
            data,
            count,
            weight,
            reason,
            hash,
            partition: self.cold.partition,
            index,
            counts_as_key: false,
            late: u32::try_from(late).unwrap_or(u32::MAX),
        }
    }

    /// Makes a key's data due now, whatever its deadline. `waiter` is told of each generation of it
    /// that gets settled.
    pub(crate) fn request(
        &mut self,
        hash: KeptHash,
        matches: impl Fn(&K) -> bool,
        reason: FlushReason,
        waiter: Option<&T>,
    ) -> Request {
        // What is waited for is counted in generations, and one may become two by that.
        if waiter.is_some() {
            self.end_leases_of(hash, &matches);
        }
        let cold = &mut *self.cold;
        let pending = self.pending.find(hash.spread(), |pending| matches(&pending.key));
        let flying = cold.flying.find(hash.spread(), |flying| matches(&flying.key));
        let Some(key) = pending.map(|pending| &pending.key).or(flying.map(|flying| &flying.key)) else {
            return Request::default();
        };
        let closed = cold.closed.len_of(key);
        let generations = u32::from(pending.is_some()) + u32::from(flying.is_some()) + closed;
        let watches = &mut cold.watches;
        let outstanding = waiter.map_or(0, |waiter| watches.add(waiter, key.clone(), generations));
        let due = pending.is_some_and(|pending| cold.timers.request(pending.timer, reason));
        Request { due, outstanding }
    }

    /// Does what [`request`](Self::request) does for all keys that have a timer among the next
    /// `count` places from `from`; returns where to go on.
    pub(crate) fn request_some(
        &mut self,
        from: usize,
        count: usize,
        reason: FlushReason,
        waiter: Option<&T>,
    ) -> (Request, Option<usize>) {
        let (timers, next) = self.cold.timers.scan(from, count);
        let timers: Vec<TimerId> = timers.collect();
        let mut all = Request::default();
        for timer in timers {
            if waiter.is_some() {
                let key = self.key_at(timer).clone();
                let one = self.request(self.cold.timers.hash(timer), |other| *other == key, reason, waiter);
                all.due |= one.due;
                all.outstanding += one.outstanding;
            } else {
                all.due |= self.cold.timers.request(timer, reason);
            }
        }
        (all, next)
    }

    /// Lets `waiter` wait for all that is in flight. Says for how many it did not wait before.
    pub(crate) fn watch_flying(&mut self, waiter: &T) -> u32 {
        let cold = &mut *self.cold;
        cold.flying.iter().map(|flying| cold.watches.add(waiter, flying.key.clone(), 1)).sum()
    }

    pub(crate) fn forget_waiter(&mut self, waiter: &T) {
        self.cold.watches.forget(waiter);
    }

    /// Whether anybody waits for a generation of this partition.
    #[cfg(all(test, feature = "tokio", not(shuttle)))]
    pub(crate) fn is_watched(&self) -> bool {
        !self.cold.watches.is_empty()
    }

    /// The earliest deadline of what is pending, due or not, to the accuracy of the wheel.
    pub(crate) fn oldest_deadline(&mut self) -> Option<Tick> {
        let due = self.cold.timers.due().next().map(|(timer, ..)| self.cold.timers.deadline(timer));
        [due, self.nearest_deadline()].into_iter().flatten().min()
    }

    /// The nearest deadline of an armed timer, to the accuracy of the wheel.
    pub(crate) fn nearest_deadline(&mut self) -> Option<Tick> {
        let timer = self.cold.timers.nearest()?;
        Some(self.cold.timers.deadline(timer))
    }

    /// Makes the `count` generations with the nearest deadlines due now.
    pub(crate) fn hasten(&mut self, count: usize) -> usize {
        let hastened = (0..count).map_while(|_| {
            self.cold.timers.nearest().map(|timer| self.cold.timers.queue(timer, FlushReason::Pressure))
        });
        hastened.count()
    }
}
