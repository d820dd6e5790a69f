//! What there is no room for goes to disk, and comes back when there is: [`Overflow::Spill`](crate::Overflow::Spill).

use std::hash::BuildHasher;

use super::schedule::Way;
use super::{Held, SchedulerState};
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::intake::HOLD;
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::flights::{Flights, OnDisk};
use crate::engine::sequence::Sequence;
use crate::engine::shard::{Settled, Settlement};
use crate::failure::FailureCause;
use crate::key::Key;

/// One who waits for what was on disk only.
#[derive(Debug)]
pub(super) struct SpillWatch {
    waiter: WaiterRef,
    batches: OnDisk,
}

/// A batch that is on disk, with so many bytes, and is to be there only.
pub(crate) type Leaving<K, V> = (Held<K, V>, u64);

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// How many keys a batch holds at most. Where data is spilled, what is on its way to the sink takes no more than half of
    /// the room, so that there is something else to spill.
    pub(super) fn most_batch_keys(&self) -> usize {
        let most = self.settings.flushing.max_batch_keys;
        if self.settings.bounds.overflow.max_spilled().is_none() {
            return most;
        }
        let share = self.half_of_keys() / self.most_in_motion();
        most.min(share.max(1))
    }

    /// How many batches are in motion at most, where data is spilled or was.
    fn most_in_motion(&self) -> usize {
        (4 * self.lookahead()).min(self.half_of_keys().max(1))
    }

    fn half_of_keys(&self) -> usize {
        usize::try_from(self.settings.bounds.max_keys / 2).unwrap_or(usize::MAX)
    }

    /// How many more batches may be in motion, where data is spilled or was.
    pub(crate) fn more_in_motion(&self, flights: &Flights<Held<K, V>>) -> usize {
        let more = self.most_in_motion().saturating_sub(flights.in_motion());
        if more == 0 {
            return 0;
        }
        let weight: u64 = flights.in_memory().map(|batch| batch.need().weight).sum();
        let half = self.settings.bounds.max_weight.div_ceil(2);
        if weight < half { more } else { 0 }
    }

    /// Has the journal load batches, if there is use for any.
    pub(super) fn want_loaded(&self) {
        let Some(journal) = &self.journal else { return };
        let wanted = {
            let flights = self.dispatch.flights.lock();
            flights.may_load() && self.more_in_motion(&flights) > 0
        };
        if wanted {
            journal.progress.want_load();
        }
    }

    /// Puts the oldest of what is pending on its way to the disk, if room has run out: until a fifth of it is free when
    /// that is there.
    pub(super) fn spill(&self, state: &mut SchedulerState<K, V>) {
        let Some(max_bytes) = self.settings.bounds.overflow.max_spilled() else { return };
        let sound = self.journal.as_ref().is_some_and(|journal| journal.progress.trouble().is_none());
        while sound && self.wants_spill(max_bytes) {
            if !self.assemble(state, HOLD, Way::ToDisk) {
                let hastened = self.hasten_nearest(self.most_batch_keys());
                if hastened == 0 || !self.assemble(state, HOLD, Way::ToDisk) {
                    return;
                }
            }
        }
    }

    fn wants_spill(&self, max_bytes: u64) -> bool {
        let flights = self.dispatch.flights.lock();
        flights.spilled_bytes() < max_bytes && self.intake.is_short(flights.promised())
    }

    /// Batches are on disk, with so many bytes: lets go of them. Nothing is put together, split or put aside meanwhile. Who
    /// waits for one of their entries waits for the batch from here on.
    pub(crate) fn leave_on_disk(&self, (batch, bytes): &Leaving<K, V>) -> Vec<Settlement<K, WaiterRef>> {
        let sequence = Sequence::of(batch.id);
        let (mut settlements, mut reached) = (Vec::new(), Vec::new());
        self.settle(sequence, &batch.entries, Settled::Spilled, |mut settlement| {
            reached.append(&mut settlement.reached);
            settlements.push(settlement);
        });
        let content = self.dispatch.flights.lock().spilled(sequence, *bytes);
        self.callbacks.let_go(content);
        let batches = OnDisk { first: sequence, end: sequence.after(1), batches: 1 };
        let mut watches = self.dispatch.spill_watches.lock();
        for (waiter, generations) in reached {
            // Once for each batch, however many of its entries.
            if watches.last().is_none_or(|watch| watch.waiter != waiter || watch.batches != batches) {
                waiter.expect(1);
                watches.push(SpillWatch { waiter: waiter.clone(), batches });
            }
            waiter.reach(generations, None);
        }
        settlements
    }

    /// Lets `waiter`, who waits for what is in memory already, wait for everything that is on disk only, too: which keys that
    /// is nobody knows.
    pub(crate) fn watch_spilled(&self, waiter: &WaiterRef) {
        if self.journal.is_none() {
            return;
        }
        // What has left memory since the waiter looked there is on disk by now.
        let _records = self.dispatch.assembly.lock();
        let flights = self.dispatch.flights.lock();
        if let Some(batches) = flights.on_disk() {
            waiter.expect(u32::try_from(batches.batches).unwrap_or(u32::MAX));
            self.dispatch.spill_watches.lock().push(SpillWatch { waiter: waiter.clone(), batches });
        }
    }

    pub(crate) fn forget_spill_watches(&self, waiter: &WaiterRef) {
        self.dispatch.spill_watches.lock().retain(|watch| watch.waiter != *waiter);
    }

    /// A batch that was on disk only is over, or `failure` is what became of a part of it. Called without any lock.
    pub(super) fn tell_spilled(&self, origin: Option<Sequence>, failure: Option<&FailureCause>) {
        let Some(origin) = origin else { return };
        let mut reached = Vec::new();
        self.dispatch.spill_watches.lock().retain_mut(|watch| {
            if watch.batches.contains(origin) {
                reached.push(watch.waiter.clone());
                watch.batches.batches -= u64::from(failure.is_none());
            }
            watch.batches.batches > 0
        });
        let over = u32::from(failure.is_none());
        reached.iter().for_each(|waiter| waiter.reach(over, failure));
    }
}
