//! The end: close the gate, drain, and hand back what could not be delivered.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Key};
use super::life::Phase;
use super::sync::{Ordering, unwrap_soon};
use crate::aggregate::Aggregate;
use crate::batch::{Content, FlushReason};
use crate::engine::flights::Stranded;
use crate::engine::shard::{Settled, Settlement};
use crate::undelivered::{Undelivered, UndeliveredState};

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Closes the gate and makes everything due, to be over by `deadline`. Does not wait.
    pub(crate) fn begin_shutdown(&self, deadline: Duration) {
        if self.life.begin_closing(deadline) {
            self.shards().for_each(|shard| shard.lock().close());
            // From here on nothing gets in, so that empty means empty.
            self.life.enter(Phase::Draining);
            self.room.wake_all();
            self.request_all(FlushReason::Shutdown, None);
            self.flights.lock().hurry();
        }
        self.doorbell.ring();
    }

    /// Waits for the end of draining, and brings it about at `deadline`.
    pub(crate) fn await_closed(&self, deadline: Duration) {
        while self.life.phase() < Phase::Closed && self.clock.now() < deadline {
            self.wait_or_pass_time(deadline, || self.life.wait_closed(&self.clock, deadline));
        }
        self.finish_draining();
    }

    /// Called when everything is flushed or the deadline has come, by whoever notices.
    pub(crate) fn finish_draining(&self) {
        self.life.wait_gate_closed();
        if self.life.phase() != Phase::Draining {
            return;
        }
        let assembly = self.assembly.lock();
        self.put_flights_aside();
        for shard in self.shards() {
            let pending = shard.lock().abandon().into_iter();
            let left = pending.map(|entry| Undelivered::own(entry, UndeliveredState::Pending));
            self.undelivered.lock().extend(left);
        }
        drop(assembly);
        self.life.enter(Phase::Closed);
        self.waiters.lock().drain(..).for_each(|waiter| waiter.close());
        self.room.wake_all();
        self.doorbell.ring();
        self.report_if_orphaned();
    }

    /// Puts aside what is in flight and will not be sent any more.
    pub(crate) fn put_flights_aside(&self) {
        let stranded = self.flights.lock().strand();
        for (sequence, flight) in stranded {
            let left = self.return_flight(sequence, flight);
            self.undelivered.lock().extend(left);
        }
    }

    /// The data in a batch that nobody will acknowledge any more.
    fn return_flight(&self, sequence: u64, stranded: Stranded<Arc<Content<K, V>>>) -> Vec<Undelivered<K, V>> {
        let content = match &stranded {
            Stranded::Running(content) | Stranded::Idle { content, .. } => content,
        };
        for (index, entry) in (0..).zip(&content.entries) {
            let ticket = entry.ticket(sequence, index);
            let mut settlement = Settlement::default();
            self.shard(entry.partition as usize).settle(&ticket, Settled::Returned, &mut settlement);
        }
        match stranded {
            Stranded::Running(content) => {
                let indexes = 0..content.entries.len();
                indexes.map(|index| Undelivered::shared(Arc::clone(&content), index)).collect()
            }
            Stranded::Idle { content, attempts, failure } => {
                let state = match failure {
                    Some(failure) => UndeliveredState::Retrying { attempts, failure },
                    None => UndeliveredState::Pending,
                };
                let entries = unwrap_soon(content).entries.into_iter();
                entries.map(|entry| Undelivered::own(entry, state.clone())).collect()
            }
        }
    }

    /// Fetches what shutdown hands back, and how much there ever was.
    pub(crate) fn fetch_undelivered(&self) -> (Vec<Undelivered<K, V>>, u64) {
        let (fetched, inserts) = {
            let mut undelivered = self.undelivered.lock();
            // Counted before the lock is released, so that nobody finds neither data nor number.
            let now = undelivered.iter().map(Undelivered::count).sum();
            let before = self.counters.returned.fetch_add(now, Ordering::Relaxed);
            (std::mem::take(&mut *undelivered), before + now)
        };
        for undelivered in &fetched {
            if let UndeliveredState::Unhandled { .. } = undelivered.state() {
                let entry = undelivered.entry();
                self.shard(entry.partition as usize).return_kept(entry.count, entry.weight);
            }
        }
        (fetched, inserts)
    }

    pub(crate) fn report_if_orphaned(&self) {
        if self.orphaned.load(Ordering::Relaxed) {
            self.report_left();
        }
    }

    /// Nobody is left to fetch it: tells the observers.
    pub(crate) fn report_left(&self) {
        let (left, _) = self.fetch_undelivered();
        let inserts = left.iter().map(Undelivered::count).sum();
        if !left.is_empty() {
            self.callbacks.observe(|observer| observer.undelivered(&self.config.name, left.len(), inserts));
        }
    }
}
