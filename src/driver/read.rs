//! Reads, requests and removals of single keys and of all.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::core::Core;
use super::intake::{HOLD, ShardGuard};
use super::sync::{Ordering, yield_now};
use super::wait::waiter::WaiterRef;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, FlushReason};
use crate::engine::flights::Presence;
use crate::engine::shard::{InFlight, Moved};
use crate::engine::tick;
use crate::health::Health;
use crate::key::Key;
use crate::stats::Stats;

/// A key's data as it was at one instant.
pub(crate) struct Seen<V> {
    pub(crate) pending: Vec<V>,
    pub(crate) in_flight: Option<(V, BatchId)>,
    /// How much data of the partition has moved on.
    pub(crate) moved: Moved,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Inserts pending, and in flight.
    pub(crate) fn count<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> (u64, u64) {
        let spot = self.intake.spot(key);
        let Some(shard) = self.intake.look(spot.partition) else { return (0, 0) };
        let matches = |other: &K| key.equivalent(other);
        let in_flight = shard.in_flight(spot.hash, matches).map_or(0, |in_flight| in_flight.count);
        (shard.pending_count(spot.hash, matches), in_flight)
    }

    pub(crate) fn contains<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> bool {
        let spot = self.intake.spot(key);
        let shard = self.intake.look(spot.partition);
        shard.is_some_and(|shard| shard.contains(spot.hash, |other| key.equivalent(other)))
    }

    /// Copies a key's data. Pending data is copied under the partition's lock, data in flight
    /// outside all locks.
    pub(crate) fn peek<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Seen<V>
    where
        V: Clone,
    {
        let spot = self.intake.spot(key);
        let matches = |other: &K| key.equivalent(other);
        let mut waited_for = None;
        loop {
            let (pending, in_flight, moved) = {
                let Some(mut shard) = self.intake.look(spot.partition) else {
                    return Seen { pending: Vec::new(), in_flight: None, moved: Moved::default() };
                };
                shard.end_leases_of(spot.hash, matches);
                (shard.pending_data(spot.hash, matches), shard.in_flight(spot.hash, matches), shard.moved())
            };
            let Some(InFlight { batch, index, .. }) = in_flight else {
                return Seen { pending, in_flight: None, moved };
            };
            match self.dispatch.content(batch) {
                // While it is in flight its data stays the same, so the two belong together.
                Presence::Here(content) => {
                    let data = content.entries[index as usize].data.clone();
                    return Seen { pending, in_flight: Some((data, content.id)), moved };
                }
                // Being put together or split: over in a moment. If not, `handle_error` has it.
                Presence::InTransit if waited_for == Some(batch) => {
                    return Seen { pending, in_flight: None, moved };
                }
                Presence::InTransit => {
                    waited_for = Some(batch);
                    drop(self.dispatch.pause_assembly());
                }
                // Settled between the two looks: look again.
                Presence::Gone => yield_now(),
            }
        }
    }

    pub(crate) fn remove<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Vec<V> {
        let spot = self.intake.spot(key);
        // What is recorded stands in the order in which it happened.
        let mut records = self.journal.is_some().then(|| self.dispatch.pause_assembly());
        let Some(mut shard) = self.intake.look(spot.partition) else { return Vec::new() };
        let removed = shard.remove(spot.hash, |other| key.equivalent(other));
        self.intake.release_from(&mut shard);
        drop(shard);
        let Some((data, settlement)) = removed else { return Vec::new() };
        if let Some(records) = &mut records {
            settlement.keys.iter().for_each(|key| records.note_gone(key));
        }
        drop(records);
        self.note_change();
        self.follow_settlement(settlement, None);
        data
    }

    /// Every key that holds data; each partition at its own instant.
    pub(crate) fn keys(&self) -> Vec<K> {
        let mut keys = Vec::new();
        for partition in 0..self.intake.partitions() {
            let mut from = Some(0);
            while let Some(start) = from {
                let shard = self.intake.look(partition);
                from = shard.and_then(|shard| shard.some_keys(start, HOLD, &mut keys));
            }
            if let Some(shard) = self.intake.look(partition) {
                shard.flying_keys(&mut keys);
            }
        }
        keys
    }

    /// Makes a key due.
    pub(crate) fn request<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q, waiter: Option<&WaiterRef>) {
        let spot = self.intake.spot(key);
        let Some(mut shard) = self.intake.look(spot.partition) else { return };
        let request = shard.request(spot.hash, |other| key.equivalent(other), FlushReason::Requested, waiter);
        if let Some(waiter) = waiter {
            waiter.expect(request.outstanding);
        }
        drop(shard);
        if request.due {
            self.dispatch.doorbell().ring();
        }
    }

    /// Makes everything due that is there at this moment.
    pub(crate) fn request_all(&self, reason: FlushReason, waiter: Option<&WaiterRef>) {
        self.request_all_while(reason, waiter, || true);
    }

    /// As [`request_all`](Self::request_all), as long as `go_on`.
    pub(super) fn request_all_while(
        &self,
        reason: FlushReason,
        waiter: Option<&WaiterRef>,
        go_on: impl Fn() -> bool,
    ) {
        let watch_flying = |mut shard: ShardGuard<'_, K, V>| {
            if let Some(waiter) = waiter {
                waiter.expect(shard.watch_flying(waiter));
            }
        };
        for partition in (0..self.intake.partitions()).take_while(|_| go_on()) {
            let Some(shard) = self.intake.look(partition) else { continue };
            watch_flying(shard);
            if reason == FlushReason::Volume {
                self.intake.look(partition).into_iter().for_each(|mut shard| {
                    shard.count_afresh();
                    self.intake.release_from(&mut shard);
                });
            }
            let mut from = Some(0);
            while let Some(start) = from {
                let Some(mut shard) = self.intake.look(partition) else { break };
                let (request, next) = shard.request_some(start, HOLD, reason, waiter);
                if let Some(waiter) = waiter {
                    waiter.expect(request.outstanding);
                }
                from = next;
            }
            // What has been taken meanwhile was no longer there to be met.
            self.intake.look(partition).into_iter().for_each(watch_flying);
        }
        self.dispatch.doorbell().ring();
    }

    pub(crate) fn forget_waiter(&self, waiter: &WaiterRef, partitions: impl Iterator<Item = usize>) {
        self.waiters.lock().retain(|other| other != waiter);
        self.forget_spill_watches(waiter);
        partitions
            .filter_map(|partition| self.intake.look(partition))
            .for_each(|mut shard| shard.forget_waiter(waiter));
    }

    pub(crate) fn health(&self) -> Health {
        let stats = self.stats();
        let last = self.dispatch.trouble().seen().last;
        let last_failure = last.map(|(cause, at)| (cause, self.clock.now().saturating_sub(at)));
        let journal = self.journal.as_ref();
        let journal_failure =
            journal.and_then(|journal| journal.progress.trouble()).map(|trouble| trouble.error);
        Health { degraded_for: stats.degraded_for, last_failure, journal_failure, stats }
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut oldest = None;
        let mut stats = self.intake.stats(|shard| {
            oldest = [oldest, shard.oldest_deadline()].into_iter().flatten().min();
        });
        stats.oldest_pending = oldest.map_or(Duration::ZERO, |deadline| {
            let began = tick::to_duration(deadline).saturating_sub(self.settings.schedule.interval);
            self.clock.now().saturating_sub(began)
        });
        (stats.max_keys, stats.max_weight) = (self.settings.bounds.max_keys, self.settings.bounds.max_weight);
        let counters = &self.counters;
        stats.rejected = counters.rejected.load(Ordering::Relaxed);
        stats.shed = counters.shed.load(Ordering::Relaxed);
        stats.flushes = counters.flushes.load(Ordering::Relaxed);
        stats.failures = counters.failures.load(Ordering::Relaxed);
        stats.retries = counters.retries.load(Ordering::Relaxed);
        stats.overdue = counters.overdue.load(Ordering::Relaxed);
        stats.late = counters.late.load(Ordering::Relaxed);
        stats.panics = self.callbacks.panics();
        let since = self.dispatch.trouble().seen().since;
        stats.degraded_for = since.map(|since| self.clock.now().saturating_sub(since));
        if self.keeps_rest() {
            stats.journaled = std::mem::take(&mut stats.returned);
        }
        if let Some(journal) = &self.journal {
            stats.journal_commits = journal.commits.load(Ordering::Relaxed);
            stats.journal_failures = journal.failures.load(Ordering::Relaxed);
            let trouble = journal.progress.trouble();
            stats.journal_failing_for = trouble.map(|trouble| self.clock.now().saturating_sub(trouble.since));
        }
        stats.workers = self.dispatch.workers() as u64;
        stats.hibernating = self.dispatch.is_hibernating();
        let flights = self.dispatch.flights();
        (stats.paused, stats.spilled_bytes) = (flights.is_paused(), flights.spilled_bytes());
        drop(flights);
        stats
    }
}
