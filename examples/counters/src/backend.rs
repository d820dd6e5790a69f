//! What the sink and the HTTP side share, and how the database is doing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use write_behind::dead_letters::DeadLetters;
use write_behind::exactly_once::{AsyncStore, Fate, StoreError, StoreErrorKind};
use write_behind::{BatchId, FailureCause, FlushBatch, FlushEvent, Observer, Sum, Writer};

use crate::counters::Counters;
use crate::totals::Totals;

pub(crate) struct Backend {
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) letters: Arc<DeadLetters<String, Sum<i64>>>,
    /// With `--hydrate`.
    pub(crate) totals: OnceLock<Totals>,
    writing: Trouble,
    folding: Trouble,
}

impl Backend {
    pub(crate) fn new(counters: Arc<dyn Counters>, letters: DeadLetters<String, Sum<i64>>) -> Self {
        let (writing, folding) = (Trouble::new("write"), Trouble::new("add to the totals"));
        Backend { counters, letters: Arc::new(letters), totals: OnceLock::new(), writing, folding }
    }

    /// Bad data is a client's trouble; everything else is the database's.
    pub(crate) fn note<T>(&self, result: &Result<T, StoreError>) {
        let trouble = result.as_ref().err().filter(|error| error.kind() == StoreErrorKind::Unknown);
        self.writing.note(trouble.map(ToString::to_string));
    }

    /// Why the last write, or the last step in the background, did not go through.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.writing.get().or_else(|| self.folding.get())
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
    /// Guards what went wrong the last time, if it did.
    last: Mutex<Option<String>>,
}

impl Trouble {
    fn new(cannot: &'static str) -> Self {
        Trouble { cannot, last: Mutex::new(None) }
    }

    /// Told once per outage, not once per attempt.
    fn note(&self, trouble: Option<String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(trouble)) = (&*last, &trouble) {
            tracing::warn!(error = trouble, "cannot {}, will try again", self.cannot);
        }
        *last = trouble;
    }

    fn get(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Notes what a store does not live to see: that it was cancelled.
pub(crate) struct Cancellations(pub(crate) Arc<Backend>);

impl Observer for Cancellations {
    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, cause: &FailureCause, _: Duration) {
        if let FailureCause::TimedOut(after) = cause {
            self.0.writing.note(Some(format!("the database did not answer within {after:?}")));
        }
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
