//! Where the buffer's batches go: into the store, each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use write_behind::{AsyncBatchDataBuffer, DeadLetter, FlushBatch, FlushError, Retirement, Sum, Verdict};

use crate::backend::Backend;
use crate::dead_letters::Letter;
use crate::store::{Deltas, Fate, LedgerId, StoreError};

/// The ledger keeps about as many records per process, and the batches in flight.
const PRUNE_EVERY: i64 = 64;

pub(crate) struct Sink {
    backend: Arc<Backend>,
    /// For tests.
    twice: bool,
    /// Relaxed: two workers pruning at once do no harm.
    pruned_below: AtomicI64,
}

type Batch = FlushBatch<String, Sum<i64>>;

impl Sink {
    pub(crate) fn new(backend: Arc<Backend>, twice: bool) -> Self {
        Sink { backend, twice, pruned_below: AtomicI64::new(0) }
    }

    async fn apply(&self, id: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        if self.twice {
            self.backend.store.apply(id, deltas).await?;
        }
        self.backend.store.apply(id, deltas).await
    }

    /// Succeeds when the batch is in the database, by this attempt or an earlier one.
    async fn write(&self, batch: &Batch) -> Result<(), FlushError> {
        self.backend.begin_flush();
        let id = self.backend.ledger_id(batch.id());
        let mut deltas = Deltas::default();
        for entry in batch.sorted() {
            deltas.keys.push(entry.key());
            deltas.values.push(entry.data().0);
        }
        let applied = self.apply(id, &deltas).await;
        let result = match applied {
            Ok(Fate::Applied) => Ok(()),
            // Made void by an earlier attempt whose answer was lost.
            Ok(Fate::Void) => Err(StoreError::Data(format!("batch {id} has been made void"))),
            Err(error) => Err(error),
        };
        self.backend.note(&result);
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(batch, id, error).await,
        }
    }

    /// Decides what the buffer may do with a batch whose attempt failed.
    ///
    /// As long as it is sent again under the same id nothing can go wrong. Before its keys go on
    /// under other ids (halved, or as a dead letter) this id is made void: an earlier attempt whose
    /// answer was lost may have been applied after all, or may yet arrive.
    async fn refuse(&self, batch: &Batch, id: LedgerId, error: StoreError) -> Result<(), FlushError> {
        let alone = batch.len() == 1;
        match &error {
            StoreError::Unavailable(_) => return Err(FlushError::unknown(error)),
            StoreError::Contended(_) if alone => return Err(FlushError::unknown(error)),
            StoreError::Contended(_) | StoreError::Data(_) => {}
        }
        match self.backend.store.void(id).await {
            Ok(Fate::Applied) => Ok(()),
            Ok(Fate::Void) if alone => Err(FlushError::never_applied(error).give_up()),
            Ok(Fate::Void) => Err(FlushError::never_applied(error)),
            Err(error) => Err(FlushError::unknown(error)),
        }
    }

    async fn prune(&self, settled_below: i64) {
        let pruned_below = self.pruned_below.load(Ordering::Relaxed);
        if settled_below - pruned_below < PRUNE_EVERY {
            return;
        }
        self.pruned_below.store(settled_below, Ordering::Relaxed);
        // What is left over is pruned by the next one.
        if let Err(error) = self.backend.store.prune(self.backend.writer, settled_below).await {
            tracing::warn!(%error, "the ledger could not be pruned");
        }
    }
}

/// Any of these may be cancelled where it awaits, by the flush timeout or at the end. The buffer then
/// takes it that the batch may have been applied or not, and sends it again under the same id.
impl AsyncBatchDataBuffer<String, Sum<i64>> for Sink {
    async fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        self.write(batch).await?;
        if let Some(totals) = &self.backend.totals {
            totals.apply(batch);
        }
        self.prune(batch.settled_below() as i64).await;
        Ok(())
    }

    async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        // Retries never end, so only what was given up arrives here, and its batch is void.
        let reason = letter.cause().to_string();
        let line = Letter::new(letter.key(), letter.data().0, None, letter.attempts(), reason);
        match self.backend.letters.append(vec![line]).await {
            Ok(()) => Verdict::Forget,
            Err(error) => {
                let path = self.backend.letters.path().display();
                self.backend.note_trouble(&format!("{path}: {error}"));
                // Tried again after an interval, or, at the end, handed back.
                Verdict::Requeue(letter)
            }
        }
    }

    /// If nothing is undelivered, nothing refers to this process's records any more: dead letters name
    /// no batch then. If they stay behind they are forgotten when they are old.
    async fn handle_retired(&self, retirement: &Retirement) {
        if retirement.undelivered > 0 {
            return;
        }
        if let Err(error) = self.backend.store.retire(self.backend.writer).await {
            tracing::warn!(%error, "the ledger could not be tidied up");
        }
    }
}
