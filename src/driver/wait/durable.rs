//! Waiting until something is on disk.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::journal::Journal;
use crate::driver::user::context::{Barred, NoWait};
use crate::journal::{JournalError, OnDiskFailure, SyncError};
use crate::key::Key;

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

    /// Waits until all that has changed by now is on disk.
    pub(crate) fn sync(&self) -> Result<(), SyncError> {
        let journal = self.journal()?;
        let (round, deadline) = (journal.progress.want_all(), self.deadline(journal.patience));
        let patient = journal.on_failure == OnDiskFailure::Wait;
        let mut outcome = None;
        while outcome.is_none() && self.clock.now() < deadline {
            self.wait_or_pass_time(deadline, || {
                journal.progress.wait(&self.clock, deadline, round, patient);
            });
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
            let waiting = async {
                journal.progress.wait_async(&self.clock, deadline, round, patient).await;
            };
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
