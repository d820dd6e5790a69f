//! Reads, requests and removals of single keys and of all.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::core::{Core, ShardGuard};
use super::sync::{Ordering, yield_now};
use super::waiter::WaiterRef;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, FlushReason};
use crate::engine::flights::Presence;
use crate::engine::shard::InFlight;
use crate::engine::tick;
use crate::key::Key;
use crate::stats::Stats;

/// A key's data as it was at one instant.
pub(crate) struct Seen<V> {
    pub(crate) pending: Vec<V>,
    pub(crate) in_flight: Option<(V, BatchId)>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Inserts pending, and in flight.
    pub(crate) fn count<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> (u64, u64) {
        let spot = self.spot(key);
        let shard = self.shard(spot.partition);
        let matches = |other: &K| key.equivalent(other);
        let in_flight = shard.in_flight(spot.hash, matches).map_or(0, |in_flight| in_flight.count);
        (shard.pending_count(spot.hash, matches), in_flight)
    }

    pub(crate) fn contains<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> bool {
        let spot = self.spot(key);
        self.shard(spot.partition).contains(spot.hash, |other| key.equivalent(other))
    }

    /// Copies a key's data. Pending data is copied under the partition's lock, data in flight
    /// outside all locks.
    pub(crate) fn peek<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Seen<V>
    where
        V: Clone,
    {
        let spot = self.spot(key);
        let matches = |other: &K| key.equivalent(other);
        let mut waited_for = None;
        loop {
            let (pending, in_flight) = {
                let shard = self.shard(spot.partition);
                (shard.pending_data(spot.hash, matches), shard.in_flight(spot.hash, matches))
            };
            let Some(InFlight { batch, index, .. }) = in_flight else {
                return Seen { pending, in_flight: None };
            };
            let presence = self.flights.lock().content(batch);
            match presence {
                // While it is in flight its data stays the same, so the two belong together.
                Presence::Here(content) => {
                    let data = content.entries[index as usize].data.clone();
                    return Seen { pending, in_flight: Some((data, content.id)) };
                }
                // Being put together or split: over in a moment. If not, `handle_error` has it.
                Presence::InTransit if waited_for == Some(batch) => return Seen { pending, in_flight: None },
                Presence::InTransit => {
                    waited_for = Some(batch);
                    drop(self.assembly.lock());
                }
                // Settled between the two looks: look again.
                Presence::Gone => yield_now(),
            }
        }
    }

    pub(crate) fn remove<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Vec<V> {
        let spot = self.spot(key);
        let mut shard = self.shard(spot.partition);
        let removed = shard.remove(spot.hash, |other| key.equivalent(other));
        self.release_from(&mut shard);
        drop(shard);
        let Some((data, settlement)) = removed else { return Vec::new() };
        self.follow_settlement(settlement, None);
        data
    }

    /// Every key that holds data; each partition at its own instant.
    pub(crate) fn keys(&self) -> Vec<K> {
        let mut keys = Vec::new();
        for partition in 0..self.partitions() {
            let mut from = Some(0);
            while let Some(start) = from {
                from = self.shard(partition).some_keys(start, Self::HOLD, &mut keys);
            }
            self.shard(partition).flying_keys(&mut keys);
        }
        keys
    }

    /// Makes a key due.
    pub(crate) fn request<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q, waiter: Option<&WaiterRef>) {
        let spot = self.spot(key);
        let mut shard = self.shard(spot.partition);
        let request = shard.request(spot.hash, |other| key.equivalent(other), FlushReason::Requested, waiter);
        if let Some(waiter) = waiter {
            waiter.expect(request.outstanding);
        }
        drop(shard);
        if request.due {
            self.doorbell.ring();
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
        for partition in (0..self.partitions()).take_while(|_| go_on()) {
            watch_flying(self.shard(partition));
            if reason == FlushReason::Volume {
                let mut shard = self.shard(partition);
                shard.count_afresh();
                self.release_from(&mut shard);
            }
            let mut from = Some(0);
            while let Some(start) = from {
                let mut shard = self.shard(partition);
                let (request, next) = shard.request_some(start, Self::HOLD, reason, waiter);
                if let Some(waiter) = waiter {
                    waiter.expect(request.outstanding);
                }
                from = next;
            }
            // What has been taken meanwhile was no longer there to be met.
            watch_flying(self.shard(partition));
        }
        self.doorbell.ring();
    }

    pub(crate) fn forget_waiter(&self, waiter: &WaiterRef, partitions: impl Iterator<Item = usize>) {
        self.waiters.lock().retain(|other| other != waiter);
        partitions.for_each(|partition| self.shard(partition).forget_waiter(waiter));
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut oldest = None;
        for mut shard in self.shards() {
            shard.add_to(&mut stats);
            oldest = [oldest, shard.oldest_deadline()].into_iter().flatten().min();
        }
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
        stats.workers = self.workers.load(Ordering::Relaxed) as u64;
        stats.hibernating = self.hibernating.load(Ordering::Relaxed);
        stats
    }
}
