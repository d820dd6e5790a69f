use std::hash::Hash;

use super::Shard;
use crate::aggregate::Aggregate;

/// What this partition adds to the number of inserts that wait in the whole buffer.
///
/// An insert takes one from the partition's admissions, which the driver hands out and counts. Those
/// not used up and the inserts that came in by one and are pending are *on record*. An insert is
/// counted once: not again when it has been made due by the whole buffer's trigger, and not when it is
/// put back. Where such *settled* inserts and counted ones are pending, those that leave are taken to
/// be settled ones first: they have been due for longer.
impl<K, V, T> Shard<K, V, T> {
    /// Lets so many more inserts in.
    pub(crate) fn admit(&mut self, inserts: u64) {
        self.busy.admissions += inserts;
        self.cold.admitted += inserts;
        self.cold.on_record += inserts;
    }

    /// How many inserts have gone off the record since the last call.
    pub(crate) fn release(&mut self) -> u64 {
        let counted = self.pending_inserts() - self.cold.settled_inserts;
        let before = std::mem::replace(&mut self.cold.on_record, counted + self.busy.admissions);
        before - self.cold.on_record
    }

    /// How many inserts were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.cold.admitted - self.busy.admissions - self.cold.leases.all_unused()
    }

    /// How many inserts are pending.
    pub(super) fn pending_inserts(&self) -> u64 {
        self.still_pending(self.accepted())
    }

    /// How many inserts are pending if so many were accepted.
    pub(super) fn still_pending(&self, accepted: u64) -> u64 {
        accepted + self.cold.tally.recovered - self.cold.tally.left_pending
    }

    /// So many inserts are no longer pending.
    pub(super) fn leave(&mut self, inserts: u64) {
        self.cold.tally.left_pending += inserts;
        self.cold.settled_inserts = self.cold.settled_inserts.saturating_sub(inserts);
    }

    /// So many inserts are pending again.
    pub(super) fn come_back(&mut self, inserts: u64) {
        self.cold.tally.left_pending -= inserts;
        self.cold.settled_inserts += inserts;
    }
}

impl<K: Hash + Eq + Clone, V: Aggregate, T> Shard<K, V, T> {
    /// Refuses inserts from now on.
    pub(crate) fn close(&mut self) {
        self.cold.open = false;
        self.recall_admissions();
    }

    /// Takes back the admissions that are not used.
    pub(crate) fn recall_admissions(&mut self) {
        self.end_all_leases();
        self.cold.admitted -= std::mem::take(&mut self.busy.admissions);
    }

    /// Counts afresh: what is pending now does not count any more.
    pub(crate) fn count_afresh(&mut self) {
        self.recall_admissions();
        self.cold.settled_inserts = self.pending_inserts();
    }

    /// Lets everything in.
    pub(crate) fn admit_all(&mut self) {
        self.recall_admissions();
        self.busy.admissions = u64::MAX - self.cold.admitted;
        (self.cold.admitted, self.cold.on_record) = (u64::MAX, u64::MAX);
    }
}
