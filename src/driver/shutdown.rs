//! The end: close the gate, drain, and hand back what could not be delivered.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::flush::Held;
use super::journal::Journal;
use super::sync::Ordering;
use super::wait::life::Phase;
use crate::aggregate::Aggregate;
use crate::batch::{Content, FlushReason};
use crate::dead_letter::Retirement;
use crate::engine::flights::{Past, Stranded};
use crate::key::Key;
use crate::undelivered::{LeftBatch, Leftovers, UndeliveredState};

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Closes the gate and makes everything due, to be over by `deadline`. Does not wait.
    pub(crate) fn begin_shutdown(&self, deadline: Duration) {
        if self.life.begin_closing(deadline) {
            self.intake.close();
            // From here on nothing gets in, so that empty means empty.
            self.life.enter(Phase::Draining);
            self.life.tell();
            self.intake.wake_all();
            // Without any time for it nothing more is to be delivered.
            if self.clock.now() < deadline {
                self.request_all_while(FlushReason::Shutdown, None, || self.clock.now() < deadline);
                self.dispatch.hurry();
            }
        }
        self.dispatch.doorbell().ring();
    }

    /// Called when everything is flushed or the deadline has come, by whoever notices.
    pub(crate) fn finish_draining(&self) {
        self.life.wait_gate_closed(&self.clock);
        let mut dropped = (Leftovers::default(), Vec::new());
        let put_aside = self.put_aside(&mut dropped);
        self.tell_news();
        if !put_aside {
            return;
        }
        self.journal.iter().for_each(|journal| journal.progress.tell());
        self.life.tell();
        let waiters = std::mem::take(&mut *self.waiters.lock());
        waiters.iter().for_each(|waiter| waiter.close());
        self.callbacks.let_go(dropped);
        self.intake.wake_all();
        self.dispatch.doorbell().ring();
        if self.orphaned.load(Ordering::Relaxed) {
            self.report_left();
        }
    }

    /// Puts all that is left aside as undelivered, or `dropped` if it is in the journal. False if that is done already.
    fn put_aside(&self, dropped: &mut (Leftovers<K, V>, Vec<Held<K, V>>)) -> bool {
        // The file before the assembly, as when it is written otherwise.
        let mut disk = self.journal.as_ref().map(Journal::lock_disk);
        let mut records = self.dispatch.pause_assembly();
        if self.life.phase() != Phase::Draining {
            return false;
        }
        let disk = disk.as_mut().and_then(|disk| disk.as_deref_mut());
        if let (Some(journal), Some(disk)) = (&self.journal, disk) {
            journal.progress.seal();
            let kept = self.commit_last(journal, disk, &mut records, &mut dropped.1);
            journal.keeps_rest.store(kept, Ordering::Relaxed);
        }
        let (stranded, still) = self.dispatch.strand();
        let mut left = Leftovers::default();
        stranded.into_iter().for_each(|stranded| left.add_batch(left_batch(stranded)));
        let mut on_disk = 0;
        for mut shard in self.intake.shards() {
            let (table, inserts) = shard.abandon(&still);
            left.add_table(table, inserts);
            if self.keeps_rest() {
                on_disk += shard.leave_spilled();
            }
        }
        self.counters.returned.fetch_add(left.inserts() + on_disk, Ordering::Relaxed);
        if self.keeps_rest() {
            // It is not lost, and must not be stored by other means.
            dropped.0 = left;
        } else {
            *self.left.lock() = left;
        }
        self.life.enter(Phase::Closed);
        true
    }

    /// Tells the sink that the buffer is over and lets it go. Called once, by whoever did the buffer's
    /// work, when all callbacks are back.
    pub(crate) async fn retire(&self) {
        let undelivered = {
            // Nothing is fetched meanwhile. What is still in flight is kept, or about to be.
            let _left = self.left.lock();
            self.counters.returned.load(Ordering::Relaxed) + self.stats().in_flight
        };
        // An instance that has a journal goes on with the next start.
        if self.journal.is_none() {
            let Core { instance, epoch, .. } = *self;
            self.callbacks.handle_retired(&Retirement { instance, epoch, undelivered }).await;
        }
        self.let_sink_go();
    }

    pub(crate) fn let_sink_go(&self) {
        self.callbacks.drop_sink();
        self.close_journal();
        self.life.enter(Phase::Retired);
        self.life.tell();
    }

    /// Whoever did the work is gone: closes, and puts all that is left aside.
    #[cfg(feature = "tokio")]
    pub(crate) fn abandon(&self) {
        self.begin_shutdown(self.clock.now());
        self.finish_draining();
        self.let_sink_go();
    }

    /// Fetches what shutdown hands back and nobody has fetched yet, and how many inserts there ever were.
    pub(crate) fn fetch_undelivered(&self) -> (Leftovers<K, V>, u64) {
        let mut left = self.left.lock();
        let mut fetched = std::mem::take(&mut *left);
        if self.life.phase() >= Phase::Closed && !self.keeps_rest() {
            // What `handle_error` has kept since then.
            let kept = self.dispatch.take_kept();
            for stranded in kept {
                let batch = left_batch(stranded);
                for entry in &batch.content.entries {
                    self.intake.shard(entry.partition).return_kept(entry);
                    self.counters.returned.fetch_add(entry.count, Ordering::Relaxed);
                    fetched.add_inserts(entry.count);
                }
                fetched.add_batch(batch);
            }
        }
        let ever = if self.keeps_rest() { 0 } else { self.counters.returned.load(Ordering::Relaxed) };
        (fetched, ever)
    }

    /// Whether what was left at the end is in the journal.
    pub(crate) fn keeps_rest(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.keeps_rest.load(Ordering::Relaxed))
    }

    /// How many inserts are left there, once it is over.
    pub(crate) fn kept_in_journal(&self) -> u64 {
        if self.keeps_rest() { self.counters.returned.load(Ordering::Relaxed) } else { 0 }
    }

    /// Nobody is left to fetch it: tells the observers.
    pub(crate) fn report_left(&self) {
        let (left, _) = self.fetch_undelivered();
        if left.inserts() > 0 {
            let (keys, inserts) = (left.len(), left.inserts());
            self.callbacks.observe(|observer| observer.undelivered(&self.settings.name, keys, inserts));
        }
        self.callbacks.let_go(left);
    }
}

/// A batch that nobody will acknowledge any more.
fn left_batch<K, V>(stranded: Stranded<Arc<Content<K, V>>>) -> LeftBatch<K, V> {
    match stranded {
        Stranded::Running(content) => {
            LeftBatch { content, state: UndeliveredState::InCallback, may_be_applied: true }
        }
        Stranded::Idle { content, past: None } => {
            LeftBatch { content, state: UndeliveredState::Pending, may_be_applied: false }
        }
        Stranded::Idle { content, past: Some(Past { attempts, cause, frozen }) } => {
            let state = UndeliveredState::Retrying { attempts, cause };
            LeftBatch { content, state, may_be_applied: frozen }
        }
        Stranded::Kept { content, past: Past { attempts, cause, frozen } } => {
            let state = UndeliveredState::GivenUp { attempts, cause };
            LeftBatch { content, state, may_be_applied: frozen }
        }
    }
}
