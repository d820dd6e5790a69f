//! Which generations a journal does not know as they are. Nothing is kept of that without a journal.

use std::hash::Hash;

use super::super::sequence::Sequence;
use super::super::tick;
use super::super::timers::{State, TimerId};
use super::closed::{Closed, Generation};
use super::{CLEAN, Flying, Host, MOST_INSERTS, Pending, Probe, Shard};
use crate::aggregate::Aggregate;
use crate::batch::{Entry, FlushReason};
use crate::key::KeptHash;

/// What has changed since the journal looked last, by timers. Some may be free by now, or another key's, which does
/// no harm: what counts is whether a generation is [`CLEAN`].
#[derive(Debug)]
pub(super) struct Changes {
    journaled: bool,
    changed: Vec<TimerId>,
    /// When there are so many, those that stand there twice are found.
    limit: usize,
    /// The timers of keys of which a closed generation was taken: what is left of them the journal has to see together with that.
    rests: Vec<TimerId>,
}

/// No list shorter than this is worth tidying, or giving back.
const SHORT: usize = 1024;

impl Changes {
    pub(super) fn new(journaled: bool) -> Self {
        Changes { journaled, changed: Vec::new(), limit: SHORT, rests: Vec::new() }
    }

    /// A generation is not as the journal knows it.
    #[inline]
    pub(super) fn note(&mut self, timer: TimerId) {
        if self.journaled {
            self.changed.push(timer);
            if self.changed.len() >= self.limit {
                self.tidy();
            }
        }
    }

    pub(super) fn note_rest(&mut self, timer: TimerId) {
        if self.journaled {
            self.rests.push(timer);
        }
    }

    /// So that there are never many more than timers, however long nobody looks.
    #[cold]
    fn tidy(&mut self) {
        self.changed.sort_unstable();
        self.changed.dedup();
        self.limit = SHORT + 2 * self.changed.len();
    }

    pub(super) fn clear(&mut self) {
        *self = Changes::new(self.journaled);
    }
}

/// A key, and its pending generations with their inserts, oldest first.
pub(crate) type Visit<'a, K, V> = &'a mut dyn FnMut(&K, &mut dyn Iterator<Item = (&V, u32)>);

impl<K: Hash + Eq + Clone, V: Aggregate, T> Shard<K, V, T> {
    /// Notes that a generation is about to change that the journal knows. False if it does not know it anyway.
    #[cold]
    pub(super) fn touch<P: Probe<K>>(&mut self, hash: KeptHash, probe: &P) -> bool {
        let found = self.pending.find_mut(hash.spread(), |pending| probe.matches(&pending.key));
        let Some(pending) = found.filter(|pending| pending.count >= CLEAN) else { return false };
        pending.count -= CLEAN;
        self.cold.changes.note(pending.timer);
        true
    }

    /// Whether there is something that the journal does not know.
    pub(crate) fn has_changes(&self) -> bool {
        !self.cold.changes.changed.is_empty()
    }

    /// Shows keys that have changed, at most so many. Says whether there are more.
    pub(crate) fn show_changes(&mut self, most: usize, visit: Visit<'_, K, V>) -> bool {
        for _ in 0..most {
            let Some(timer) = self.cold.changes.changed.pop() else {
                self.cold.changes.changed.shrink_to(SHORT);
                break;
            };
            self.show_if(|pending| pending.count < CLEAN, timer, visit);
        }
        self.has_changes()
    }

    /// Shows what is left of keys of which a part was just taken.
    pub(crate) fn show_rests(&mut self, visit: Visit<'_, K, V>) {
        for timer in std::mem::take(&mut self.cold.changes.rests) {
            self.show_if(|_| true, timer, visit);
        }
    }

    /// Shows a key, if anything of it is pending.
    pub(crate) fn show(&mut self, hash: KeptHash, key: &K, visit: Visit<'_, K, V>) {
        let pending = self.pending.find(hash.spread(), |pending| pending.key == *key);
        if let Some(timer) = pending.map(|pending| pending.timer) {
            self.show_if(|_| true, timer, visit);
        }
    }

    /// Shows all keys.
    pub(crate) fn show_all(&mut self, visit: Visit<'_, K, V>) {
        self.end_all_leases();
        self.cold.changes.clear();
        let closed = &self.cold.closed;
        for pending in &mut self.pending {
            pending.show(closed, visit);
        }
    }

    fn show_if(&mut self, wanted: impl Fn(&Pending<K, V>) -> bool, timer: TimerId, visit: Visit<'_, K, V>) {
        self.end_leases(timer);
        let cold = &*self.cold;
        if cold.timers.state(timer) == State::Free {
            return;
        }
        let hash = cold.timers.hash(timer).spread();
        let found = self.pending.find_mut(hash, |pending| pending.timer == timer);
        if let Some(pending) = found.filter(|pending| wanted(pending)) {
            pending.show(&cold.closed, visit);
        }
    }

    /// Takes in what a journal has of a key that is not here yet, oldest first. There is credit for it.
    pub(crate) fn recover(
        &mut self,
        (hash, key): (KeptHash, K),
        generations: Vec<(V, u32)>,
        host: &impl Host<K, V>,
    ) {
        let now = host.now();
        let cold = &mut *self.cold;
        let flying = cold.flying.find_mut(hash.spread(), |flying| flying.key == key);
        match flying {
            Some(flying) => flying.rejoined = true,
            None => {
                cold.key_credit -= 1;
                cold.tally.keys += 1;
            }
        }
        let mut older = generations;
        let Some((data, count)) = older.pop() else { return };
        let inserts = u64::from(count) + older.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        cold.tally.recovered += inserts;
        cold.settled_inserts += inserts;
        let due = !older.is_empty() || data.is_ready() || count >= cold.deadlines.flush_at_count();
        let deadline = cold.deadlines.draw(now, host.interval(&key, &data, now));
        for (data, count) in older {
            self.busy.use_weight(data.weight());
            cold.closed.push_back(&key, Generation { data, count });
        }
        self.busy.use_weight(data.weight());
        // That is where it comes from.
        let count = count.min(MOST_INSERTS) | CLEAN;
        let pending = Pending { key, data, count, timer: cold.timers.next() };
        self.pending.insert_unique(hash.spread(), pending, |other| host.hash(&other.key).spread());
        let timer = cold.timers.arm(hash, tick::floor(now), deadline.tick);
        cold.deadlines.note(timer, deadline);
        if due {
            cold.timers.queue(timer, FlushReason::Size);
        }
    }

    /// Takes in an entry that a journal has as undelivered. There is credit for it.
    pub(crate) fn recover_kept(&mut self, entry: &Entry<K, V>) {
        self.recover_taken(entry);
        self.cold.tally.undelivered += entry.count;
    }

    /// Takes in an entry of a batch that stays in the journal for now.
    pub(crate) fn recover_spilled(&mut self, entry: &Entry<K, V>) {
        let tally = &mut self.cold.tally;
        tally.recovered += entry.count;
        tally.left_pending += entry.count;
        tally.spilled += entry.count;
    }

    fn recover_taken(&mut self, entry: &Entry<K, V>) {
        let cold = &mut *self.cold;
        cold.key_credit -= 1;
        cold.tally.keys += 1;
        cold.tally.recovered += entry.count;
        cold.tally.left_pending += entry.count;
        cold.tally.in_flight += entry.count;
        self.busy.use_weight(entry.weight);
    }

    /// Takes in an entry of a batch that a journal has. There is credit for it.
    pub(crate) fn recover_flying(&mut self, entry: &Entry<K, V>, batch: Sequence) {
        self.mark(entry, batch, false);
        self.recover_taken(entry);
    }

    /// An entry, whose key is not in flight, comes from disk and goes before all else of its key. There is credit
    /// for it.
    pub(crate) fn load(&mut self, entry: &Entry<K, V>, batch: Sequence)
    where
        T: Clone + PartialEq,
    {
        let pending = self.pending.find(entry.hash.spread(), |pending| pending.key == entry.key);
        let rejoined = pending.is_some();
        self.mark(entry, batch, rejoined);
        let cold = &mut *self.cold;
        cold.watches.put_before(&entry.key);
        cold.tally.spilled -= entry.count;
        cold.tally.in_flight += entry.count;
        // A key counts once.
        if !rejoined {
            cold.key_credit -= 1;
            cold.tally.keys += 1;
        }
        self.busy.use_weight(entry.weight);
    }

    fn mark(&mut self, entry: &Entry<K, V>, batch: Sequence, rejoined: bool) {
        let count = u32::try_from(entry.count).unwrap_or(MOST_INSERTS);
        let (key, hash, index) = (entry.key.clone(), entry.hash, entry.index);
        let flying = Flying { key, hash, batch, index, count, rejoined };
        self.cold.flying.insert_unique(hash.spread(), flying, |flying| flying.hash.spread());
    }
}

impl<K: Hash + Eq + Clone, V> Pending<K, V> {
    fn show(&mut self, closed: &Closed<K, V>, visit: Visit<'_, K, V>) {
        self.count |= CLEAN;
        let older = closed.of(&self.key).map(|older| (&older.data, older.count));
        visit(&self.key, &mut older.chain([(&self.data, self.inserts())]));
    }
}
