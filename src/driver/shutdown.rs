//! The end: close the gate, drain, and hand back what could not be delivered.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Key};
use super::life::Phase;
use super::sync::{Ordering, unwrap_soon};
use super::waiter::WaiterRef;
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
            self.life.tell();
            self.room.wake_all();
            // Without any time for it nothing more is to be delivered.
            if self.clock.now() < deadline {
                self.request_all(FlushReason::Shutdown, None);
                self.flights.lock().hurry();
            }
        }
        self.doorbell.ring();
    }

    /// Called when everything is flushed or the deadline has come, by whoever notices.
    pub(crate) fn finish_draining(&self) {
        self.life.wait_gate_closed(&self.clock);
        // Holds the table's copies of keys until all locks are released: drops are the user's code.
        let mut settlement = Settlement::default();
        if !self.put_aside(&mut settlement) {
            return;
        }
        self.life.tell();
        let waiters = std::mem::take(&mut *self.waiters.lock());
        waiters.iter().for_each(|waiter| waiter.close());
        self.room.wake_all();
        self.doorbell.ring();
        if self.orphaned.load(Ordering::Relaxed) {
            self.report_left();
        }
    }

    /// Puts all that is left aside as undelivered. False if that is done already.
    fn put_aside(&self, settlement: &mut Settlement<K, WaiterRef>) -> bool {
        let _assembly = self.assembly.lock();
        if self.life.phase() != Phase::Draining {
            return false;
        }
        let stranded = self.flights.lock().strand();
        let mut left = Vec::new();
        for (sequence, flight) in stranded {
            left.extend(self.return_flight(sequence, flight, settlement));
        }
        for shard in self.shards() {
            let pending = shard.lock().abandon();
            let pending = pending.into_iter();
            left.extend(pending.map(|entry| Undelivered::own(entry, None, UndeliveredState::Pending)));
        }
        self.undelivered.lock().extend(left);
        self.life.enter(Phase::Closed);
        true
    }

    /// The data in a batch that nobody will acknowledge any more.
    fn return_flight(
        &self,
        sequence: u64,
        stranded: Stranded<Arc<Content<K, V>>>,
        settlement: &mut Settlement<K, WaiterRef>,
    ) -> Vec<Undelivered<K, V>> {
        let content = match &stranded {
            Stranded::Running(content) | Stranded::Idle { content, .. } => content,
        };
        for (index, entry) in (0..).zip(&content.entries) {
            let ticket = entry.ticket(sequence, index);
            self.shard(entry.partition as usize).settle(&[ticket], Settled::Returned, settlement);
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
                let Content { id, entries } = unwrap_soon(content);
                let entries = entries.into_iter();
                entries.map(|entry| Undelivered::own(entry, Some(id), state.clone())).collect()
            }
        }
    }

    /// Whoever did the work is gone: closes, and puts all that is left aside.
    #[cfg(feature = "tokio")]
    pub(crate) fn abandon(&self) {
        self.begin_shutdown(self.clock.now());
        self.finish_draining();
    }

    /// Fetches what shutdown hands back, and how much there ever was.
    pub(crate) fn fetch_undelivered(&self) -> (Vec<Undelivered<K, V>>, u64) {
        let (fetched, inserts) = {
            let mut undelivered = self.undelivered.lock();
            let fetched = std::mem::take(&mut *undelivered);
            let inserts = fetched.iter().map(Undelivered::count).sum::<u64>();
            // Under the lock: who finds nothing must know how much there was.
            (fetched, inserts + self.counters.returned.fetch_add(inserts, Ordering::Relaxed))
        };
        for undelivered in &fetched {
            let entry = undelivered.entry();
            if let UndeliveredState::Unhandled { .. } = undelivered.state() {
                self.shard(entry.partition as usize).return_kept(entry.count, entry.weight);
            }
        }
        (fetched, inserts)
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
