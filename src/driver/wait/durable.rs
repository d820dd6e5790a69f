//! Waiting until something is on disk.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::intake::{Insertion, Spot};
use crate::driver::journal::Journal;
#[cfg(feature = "tokio")]
use crate::driver::user::context;
use crate::driver::user::context::{Barred, NoWait};
use crate::engine::shard::Probe;
use crate::journal::{JournalError, OnDiskFailure, SyncError};
use crate::key::Key;
use crate::settings::Overflow;

type Outcome = Option<Result<(), Option<Arc<JournalError>>>>;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Whether a blocking call may wait for the journal where it was made.
    pub(crate) fn may_sync(&self) -> Result<(), SyncError> {
        self.may_sync_anywhere()?;
        self.may_wait().map_err(|refusal| match refusal {
            NoWait::InCallback => SyncError::WouldDeadlock,
            #[cfg(feature = "tokio")]
            NoWait::InAsyncCode => SyncError::WouldBlock,
        })
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn may_sync_async(&self) -> Result<(), SyncError> {
        self.may_sync_anywhere()
    }

    fn may_sync_anywhere(&self) -> Result<(), SyncError> {
        self.may_call().map_err(|barred| match barred {
            Barred::Forked => SyncError::Forked,
            Barred::UnderLock => SyncError::WouldDeadlock,
        })?;
        self.journal().map(drop)
    }

    fn journal(&self) -> Result<&Journal<K, V>, SyncError> {
        self.journal.as_ref().ok_or(SyncError::NoJournal)
    }

    /// Inserts by the overflow policy; what that would have shed is refused.
    pub(crate) fn insert_to_keep<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Insertion<P, V::Item> {
        match self.settings.bounds.overflow {
            Overflow::Shed => self.insert_if_roomy(spot, probe, item),
            _ => self.insert(spot, probe, item),
        }
    }

    /// As [`insert_to_keep`](Self::insert_to_keep), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn insert_to_keep_async<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Insertion<P, V::Item> {
        match self.settings.bounds.overflow.timeout() {
            Some(timeout) if !context::in_callback_of(self.instance) => {
                self.insert_when_roomy_async(spot, probe, item, timeout).await
            }
            _ => self.insert_to_keep(spot, probe, item),
        }
    }

    /// Waits until all that has changed by now is on disk.
    pub(crate) fn sync(&self) -> Result<(), SyncError> {
        let journal = self.journal()?;
        let (round, deadline) = (journal.progress.want_all(), self.deadline(journal.patience));
        let patient = journal.on_failure == OnDiskFailure::Wait;
        let mut outcome = None;
        while outcome.is_none() && self.clock.now() < deadline {
            self.wait_or_pass_time(deadline, || journal.progress.wait(&self.clock, deadline, round, patient));
            outcome = journal.progress.outcome_of(round, patient);
        }
        synced(journal, outcome)
    }

    /// As [`sync`](Self::sync), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn sync_async(&self) -> Result<(), SyncError> {
        let journal = self.journal()?;
        let (round, deadline) = (journal.progress.want_all(), self.deadline(journal.patience));
        let patient = journal.on_failure == OnDiskFailure::Wait;
        let mut outcome = None;
        while outcome.is_none() && self.clock.now() < deadline {
            let waiting = journal.progress.wait_async(&self.clock, deadline, round, patient);
            self.wait_or_pass_time_async(deadline, waiting).await;
            outcome = journal.progress.outcome_of(round, patient);
        }
        synced(journal, outcome)
    }
}

fn synced<K, V>(journal: &Journal<K, V>, outcome: Outcome) -> Result<(), SyncError> {
    match outcome {
        Some(Ok(())) => Ok(()),
        Some(Err(Some(error))) => Err(SyncError::Failed(error)),
        Some(Err(None)) => Err(SyncError::Closed),
        None => Err(SyncError::TimedOut(journal.patience)),
    }
}
