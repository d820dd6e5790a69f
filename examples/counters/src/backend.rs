//! What the sink and the HTTP side share, and how the database is doing.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use write_behind::dead_letters::DeadLetters;
use write_behind::exactly_once::{AsyncStore, Fate, StoreError, StoreErrorKind};
use write_behind::journal::JournalError;
use write_behind::{BatchId, FailureCause, FlushBatch, FlushEvent, Observer, Sum, Writer};

use crate::counters::{Counters, Reading};
use crate::totals::Totals;

pub(crate) struct Backend {
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) letters: Arc<DeadLetters<String, Sum<i64>>>,
    /// With `--hydrate`.
    pub(crate) totals: OnceLock<Totals>,
    journal: Trouble,
    writing: Trouble,
    folding: Trouble,
}

impl Backend {
    pub(crate) fn new(counters: Arc<dyn Counters>, letters: DeadLetters<String, Sum<i64>>) -> Self {
        Backend {
            counters,
            letters: Arc::new(letters),
            totals: OnceLock::new(),
            journal: Trouble::new("write the journal"),
            writing: Trouble::new("write"),
            folding: Trouble::new("add to the totals"),
        }
    }

    /// Reads a counter, and whether `batch` is in it.
    pub(crate) async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        match self.totals.get() {
            Some(totals) => Ok(totals.read(key, batch)),
            None => self.counters.read(key, batch).await,
        }
    }

    /// Bad data is a client's trouble; everything else is the database's.
    pub(crate) fn note<T>(&self, result: &Result<T, StoreError>) {
        let trouble = result.as_ref().err().filter(|error| error.kind() == StoreErrorKind::Unknown);
        self.writing.note(trouble.map(ToString::to_string));
    }

    /// Why the last write, to the journal or the database, or the last step in the background did not go through.
    pub(crate) fn trouble(&self) -> Option<String> {
        [&self.journal, &self.writing, &self.folding].into_iter().find_map(|it| it.last.borrow().clone())
    }

    /// Returns as soon as the database's last answer was no answer.
    pub(crate) async fn outage(&self) {
        // Its sender is here.
        let _ = self.writing.last.subscribe().wait_for(Option::is_some).await;
    }

    /// The job in the background: folds step by step; ends at once if there is nothing to fold, ever.
    pub(crate) async fn fold(&self) {
        loop {
            let folded = self.counters.fold().await;
            self.folding.note(folded.as_ref().err().map(ToString::to_string));
            let Some(pause) = folded.unwrap_or(Some(Duration::from_secs(1))) else { return };
            tokio::time::sleep(pause).await;
        }
    }
}

struct Trouble {
    cannot: &'static str,
    /// What went wrong the last time, if it did.
    last: watch::Sender<Option<String>>,
}

impl Trouble {
    fn new(cannot: &'static str) -> Self {
        Trouble { cannot, last: watch::Sender::new(None) }
    }

    /// Told once per outage, not once per attempt.
    fn note(&self, trouble: Option<String>) {
        let before = self.last.send_replace(trouble.clone());
        if let (None, Some(error)) = (before, trouble) {
            tracing::warn!(error, "cannot {}, will try again", self.cannot);
        }
    }
}

/// What a store does not see: that it was cancelled, and how the journal is doing.
impl Observer for Backend {
    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, cause: &FailureCause, _: Duration) {
        if let FailureCause::TimedOut(after) = cause {
            self.writing.note(Some(format!("the database did not answer within {after:?}")));
        }
    }

    fn journal_failed(&self, _: &str, error: &JournalError) {
        self.journal.note(Some(error.to_string()));
    }

    fn journal_recovered(&self, _: &str) {
        self.journal.note(None);
    }
}

/// A store whose answers are noted.
pub(crate) struct Noted<S> {
    pub(crate) store: S,
    pub(crate) backend: Arc<Backend>,
    /// For tests.
    pub(crate) twice: bool,
}

impl<S: AsyncStore<String, Sum<i64>>> AsyncStore<String, Sum<i64>> for Noted<S> {
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let registered = self.store.register(writer).await;
        self.backend.note(&registered);
        registered
    }

    async fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<Fate, StoreError> {
        if self.twice {
            self.store.apply(batch).await?;
        }
        let applied = self.store.apply(batch).await;
        self.backend.note(&applied);
        if let (Some(totals), Ok(fate)) = (self.backend.totals.get(), &applied) {
            totals.apply(batch, fate);
        }
        applied
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        self.store.void(batch, epoch).await
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let pruned = self.store.prune(writer, settled_below).await;
        pruned.inspect_err(|error| tracing::warn!(%error, "the ledger could not be pruned"))
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let retired = self.store.retire(writer).await;
        retired.inspect_err(|error| tracing::warn!(%error, "the ledger could not be tidied up"))
    }
}
