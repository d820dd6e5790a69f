use std::hash::Hash;

use super::super::sequence::Sequence;
use super::super::timers::TimerId;
use super::{Shard, Tally};
use crate::key::KeptHash;

/// How much data of a partition has moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    /// Which of all partitions that the buffer ever had it is, from 1; 0 if there is none.
    life: u64,
    left: u64,
    settled: u64,
}

/// Where a key's data in flight is: at `index` of `batch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) batch: Sequence,
    pub(crate) index: u32,
    pub(crate) count: u64,
}

impl<K: Hash + Eq + Clone, V, T> Shard<K, V, T> {
    /// How many inserts of a key are pending.
    pub(crate) fn pending_count(&self, hash: KeptHash, matches: impl Fn(&K) -> bool) -> u64 {
        let Some(pending) = self.pending.find(hash.spread(), |pending| matches(&pending.key)) else {
            return 0;
        };
        let closed = self.cold.closed.of(&pending.key).map(|older| u64::from(older.count)).sum::<u64>();
        closed + u64::from(pending.inserts() - self.cold.leases.unused(pending.timer))
    }

    /// Copies of a key's pending data, oldest first; the last one is still absorbing. Leases have been ended.
    pub(crate) fn pending_data(&self, hash: KeptHash, matches: impl Fn(&K) -> bool) -> Vec<V>
    where
        V: Clone,
    {
        let Some(pending) = self.pending.find(hash.spread(), |pending| matches(&pending.key)) else {
            return Vec::new();
        };
        let closed = self.cold.closed.of(&pending.key).map(|older| &older.data);
        closed.chain([&pending.data]).cloned().collect()
    }

    pub(crate) fn in_flight(&self, hash: KeptHash, matches: impl Fn(&K) -> bool) -> Option<InFlight> {
        let flying = self.cold.flying.find(hash.spread(), |flying| matches(&flying.key))?;
        Some(InFlight { batch: flying.batch, index: flying.index, count: u64::from(flying.count) })
    }

    /// How many inserts have left the table, less those that came back, and how many have been settled: if both are what
    /// they were, no data was taken and settled in between.
    pub(crate) fn moved(&self) -> Moved {
        let Tally { left_pending, flushed, gave_up, returned, .. } = self.cold.tally;
        Moved { life: self.cold.life, left: left_pending, settled: flushed + gave_up + returned }
    }

    pub(crate) fn contains(&self, hash: KeptHash, matches: impl Fn(&K) -> bool) -> bool {
        self.pending.find(hash.spread(), |pending| matches(&pending.key)).is_some()
            || self.cold.flying.find(hash.spread(), |flying| matches(&flying.key)).is_some()
    }

    /// The keys with a timer among the next `count` places from `from`, and where to go on.
    pub(crate) fn some_keys(&self, from: usize, count: usize, keys: &mut Vec<K>) -> Option<usize>
    where
        K: Eq,
    {
        let (timers, next) = self.cold.timers.scan(from, count);
        keys.extend(timers.map(|timer| self.key_at(timer).clone()));
        next
    }

    /// The keys that are in flight and have no pending data.
    pub(crate) fn flying_keys(&self, keys: &mut Vec<K>) {
        keys.extend(
            self.cold.flying.iter().filter(|flying| !flying.rejoined).map(|flying| flying.key.clone()),
        );
    }

    /// The key that a live timer belongs to.
    pub(super) fn key_at(&self, timer: TimerId) -> &K {
        let hash = self.cold.timers.hash(timer).spread();
        let pending = self.pending.find(hash, |pending| pending.timer == timer);
        &pending.unwrap_or_else(|| unreachable!("every live timer belongs to a pending generation")).key
    }
}
