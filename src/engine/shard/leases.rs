//! Inserts that threads make by themselves: what a partition has lent them, and how it gets that back.
//!
//! A *lease* lets a lane absorb so many inserts for a pending generation without the partition's lock. They
//! are counted as inserts when they are lent: they stand in the generation's count and are taken from the admissions,
//! so that whatever compares with those errs on the safe side. When leases *end*, what was absorbed is merged, and what was
//! not used is given back. Nobody takes, shows, removes or closes a generation before its leases have ended.

use std::fmt;
use std::hash::Hash;

use hashbrown::HashMap;

use super::super::timers::TimerId;
use super::{CLEAN, Generation, MOST_INSERTS, Shard};
use crate::aggregate::Aggregate;
use crate::key::KeptHash;

/// What was lent to a lane, as the partition sees it. All of it happens under the partition's lock.
pub(crate) trait Lease<V>: Send {
    /// How many inserts have been made of it.
    fn used(&self) -> u32;

    /// No more are to be made. One that is under way may still be.
    fn revoke(&self);

    /// Has all lanes know of whatever was revoked, whichever lease this is called on.
    fn publish(&self);

    /// What the inserts have come to, and how many they are. Called after [`publish`](Self::publish); waits for the one
    /// under way.
    fn collect(&self) -> Option<(V, u32)>;
}

/// No lease is of more inserts than this.
const MOST: u32 = 1 << 20;

/// No lease is of fewer: it would not be worth while.
const LEAST: u32 = 8;

/// Of the inserts that a generation may absorb before something happens a lease is this part, so that there is
/// some for others.
const SHARE: u32 = 4;

struct Lent<V> {
    lease: Box<dyn Lease<V>>,
    inserts: u32,
}

/// What is lent, by the timers of generations.
pub(super) struct Leases<V> {
    lent: HashMap<TimerId, Vec<Lent<V>>>,
}

impl<V> Default for Leases<V> {
    fn default() -> Self {
        Leases { lent: HashMap::new() }
    }
}

impl<V> fmt::Debug for Leases<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("generations", &self.lent.len()).finish()
    }
}

impl<V> Lent<V> {
    fn unused(&self) -> u32 {
        self.inserts.saturating_sub(self.lease.used())
    }
}

impl<V> Leases<V> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lent.is_empty()
    }

    fn of(&self, timer: TimerId) -> impl Iterator<Item = &Lent<V>> {
        let lent = if self.lent.is_empty() { None } else { self.lent.get(&timer) };
        lent.into_iter().flatten()
    }

    /// How many inserts of a generation are lent.
    pub(super) fn lent(&self, timer: TimerId) -> u32 {
        self.of(timer).map(|lent| lent.inserts).sum()
    }

    /// How many of those have not been made.
    pub(super) fn unused(&self, timer: TimerId) -> u32 {
        self.of(timer).map(Lent::unused).sum()
    }

    /// How many of all that are lent have not been made.
    pub(super) fn all_unused(&self) -> u64 {
        self.lent.values().flatten().map(|lent| u64::from(lent.unused())).sum()
    }
}

impl<K: Hash + Eq + Clone, V: Aggregate, T> Shard<K, V, T> {
    /// Lends inserts of a key that has a pending generation, by the `lease` that it is told the size of. False if there is
    /// none to spare.
    pub(crate) fn lend(
        &mut self,
        hash: KeptHash,
        matches: impl Fn(&K) -> bool,
        lease: impl FnOnce(u32) -> Box<dyn Lease<V>>,
    ) -> bool {
        let Some(pending) = self.pending.find_mut(hash.spread(), |pending| matches(&pending.key)) else {
            return false;
        };
        // What the journal knows has to be touched first, by an insert that it is told of.
        if pending.count >= CLEAN {
            return false;
        }
        let next = self.cold.deadlines.next_step(pending.count).unwrap_or(MOST_INSERTS);
        let spare = next.saturating_sub(1).saturating_sub(pending.count) / SHARE;
        let admitted = u32::try_from(self.busy.admissions).unwrap_or(u32::MAX);
        let inserts = spare.min(admitted).min(MOST);
        if inserts < LEAST {
            return false;
        }
        pending.count += inserts;
        self.busy.admissions -= u64::from(inserts);
        let lent = Lent { lease: lease(inserts), inserts };
        self.cold.leases.lent.entry(pending.timer).or_default().push(lent);
        true
    }

    /// A thread inserts into a key, and has `waited` for another one or not. True if lanes are for that key.
    pub(crate) fn meet(&mut self, thread: u32, waited: bool, hash: KeptHash) -> bool {
        self.is_made() && self.cold.rivals.meet(thread, waited, hash)
    }

    /// Ends the leases of a key's generation. False if there were none.
    pub(crate) fn end_leases_of(&mut self, hash: KeptHash, matches: impl Fn(&K) -> bool) -> bool {
        if !self.is_made() || self.cold.leases.is_empty() {
            return false;
        }
        let pending = self.pending.find(hash.spread(), |pending| matches(&pending.key));
        pending.map(|pending| pending.timer).is_some_and(|timer| self.end_leases(timer))
    }

    /// Ends the leases of the generation that a timer belongs to. False if there were none.
    pub(super) fn end_leases(&mut self, timer: TimerId) -> bool {
        self.end_leases_among([timer])
    }

    /// Ends the leases of what is due, of the first so many.
    pub(super) fn end_due_leases(&mut self, limit: usize) {
        if !self.cold.leases.is_empty() {
            let due: Vec<_> = self.cold.timers.due().take(limit).map(|(timer, ..)| timer).collect();
            self.end_leases_among(due);
        }
    }

    pub(super) fn end_all_leases(&mut self) {
        let timers: Vec<_> = self.cold.leases.lent.keys().copied().collect();
        self.end_leases_among(timers);
    }

    fn end_leases_among(&mut self, timers: impl IntoIterator<Item = TimerId>) -> bool {
        let leases = &mut self.cold.leases.lent;
        if leases.is_empty() {
            return false;
        }
        let ended = timers.into_iter().filter_map(|timer| Some((timer, leases.remove(&timer)?)));
        let ended: Vec<_> = ended.collect();
        let lent = || ended.iter().flat_map(|(_, lent)| lent);
        lent().for_each(|lent| lent.lease.revoke());
        let Some(any) = lent().next() else { return false };
        // One for all of them: it is what costs something.
        any.lease.publish();
        for (timer, lent) in ended {
            self.take_back(timer, &lent);
        }
        true
    }

    /// Adds what lanes have absorbed to their generation, and what they have not to what may be absorbed.
    fn take_back(&mut self, timer: TimerId, lent: &[Lent<V>]) {
        let hash = self.cold.timers.hash(timer).spread();
        let absorbed: Vec<_> = lent.iter().filter_map(|lent| lent.lease.collect()).collect();
        let all: u32 = lent.iter().map(|lent| lent.inserts).sum();
        let used: u32 = absorbed.iter().map(|(_, inserts)| inserts).sum();
        let pending = self
            .pending
            .find_mut(hash, |pending| pending.timer == timer)
            .unwrap_or_else(|| unreachable!("what has leases is pending"));
        self.busy.admissions += u64::from(all - used);
        pending.count -= all;
        for (data, count) in absorbed {
            if pending.data.accepts_merge(&data) {
                pending.data.merge(data);
                pending.count += count;
                continue;
            }
            // The generation becomes two, both due when it is.
            self.busy.use_weight(data.weight());
            let data = std::mem::replace(&mut pending.data, data);
            let count = std::mem::replace(&mut pending.count, count);
            self.cold.closed.push_back(&pending.key, Generation { data, count });
        }
    }
}
