use std::hash::Hash;
use std::mem;

use hashbrown::HashTable;

use super::super::sequence::Sequence;
use super::super::timers::Timers;
use super::{Closed, Flying, Generation, Pending, Shard};

/// What was in a partition when shutdown's deadline came. Taken out as a whole, so that it takes no
/// longer the more there is.
#[derive(Debug)]
pub(crate) struct Abandoned<K, V> {
    pending: HashTable<Pending<K, V>>,
    closed: Closed<K, V>,
    /// Of what was in flight only the marks, to be dropped where there is time.
    _flying: HashTable<Flying<K>>,
}

impl<K: Hash + Eq + Clone, V, T> Shard<K, V, T> {
    /// What is on disk only stays there when the buffer is over. Says how many inserts that is.
    pub(crate) fn leave_spilled(&mut self) -> u64 {
        let tally = &mut self.cold.tally;
        let spilled = mem::take(&mut tally.spilled);
        tally.returned += spilled;
        spilled
    }

    /// Empties the partition for shutdown, except for what is in the batches that are `still` in flight.
    /// Also says how many inserts that is.
    pub(crate) fn abandon(&mut self, still: &[Sequence]) -> (Abandoned<K, V>, u64) {
        let pending_inserts = self.pending_inserts();
        self.leave(pending_inserts);
        let cold = &mut *self.cold;
        let mut flying = mem::take(&mut cold.flying);
        let mut stays = 0;
        if !still.is_empty() {
            for mut mark in flying.extract_if(|flying| still.contains(&flying.batch)) {
                mark.rejoined = false;
                stays += u64::from(mark.count);
                cold.flying.insert_unique(mark.hash.spread(), mark, |mark| mark.hash.spread());
            }
        }
        let tally = &mut cold.tally;
        let returned = pending_inserts + (tally.in_flight - stays);
        tally.returned += returned;
        tally.in_flight = stays;
        tally.undelivered = 0;
        tally.keys = cold.flying.len() as u64;
        cold.timers = Timers::nth(cold.partition);
        cold.changes.clear();
        // What is drawn and not used stays drawn. Nobody needs the rest any more.
        cold.weight_granted = u64::try_from(self.busy.weight_credit).unwrap_or(0);
        self.busy.weight_credit = cold.weight_granted as i64;
        let (pending, closed) = (mem::take(&mut self.pending), mem::take(&mut cold.closed));
        (Abandoned { pending, closed, _flying: flying }, returned)
    }
}

impl<K, V> Abandoned<K, V> {
    /// How many generations there are.
    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.closed.len()
    }
}

impl<K: Hash + Eq + Clone, V> Abandoned<K, V> {
    /// Every generation, oldest first per key: key, data, and how many inserts it holds.
    pub(crate) fn into_generations(self) -> impl Iterator<Item = (K, V, u64)> {
        let mut closed = self.closed;
        self.pending.into_iter().flat_map(move |pending| {
            let count = pending.inserts();
            let Pending { key, data, .. } = pending;
            let mut generations = Vec::with_capacity(1);
            while let Some(Generation { data, count }) = closed.pop_front(&key) {
                generations.push((key.clone(), data, u64::from(count)));
            }
            generations.push((key, data, u64::from(count)));
            generations
        })
    }
}
