//! Where the buffer's batches go: into the store, each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use write_behind::{AsyncDataBuffer, FailedFlush, FlushBatch, FlushError, Sum, Verdict};

use crate::backend::Backend;
use crate::dead_letters::Letter;
use crate::store::{Deltas, Fate, LedgerId, StoreError};

/// The ledger keeps about as many records per process, and the batches in flight.
const PRUNE_EVERY: i64 = 64;

pub(crate) struct Sink {
    backend: Arc<Backend>,
    /// Relaxed: two workers pruning at once do no harm.
    pruned_below: AtomicI64,
}

type Batch = FlushBatch<String, Sum<i64>>;

impl Sink {
    pub(crate) fn new(backend: Arc<Backend>) -> Self {
        Sink { backend, pruned_below: AtomicI64::new(0) }
    }

    /// Decides what the buffer may do with a batch whose attempt failed.
    ///
    /// As long as it is sent again under the same id nothing can go wrong. Before its keys go on
    /// under other ids (halved, or as a dead letter) this id is made void: an earlier attempt whose
    /// answer was lost may have been applied after all, or may yet arrive.
    async fn refuse(
        &self,
        batch: &Batch,
        id: LedgerId,
        error: StoreError,
    ) -> Result<(), FlushError<StoreError>> {
        let alone = batch.len() == 1;
        match &error {
            StoreError::Unavailable(_) => return Err(FlushError::unknown(error)),
            StoreError::Contended(_) if alone => return Err(FlushError::unknown(error)),
            StoreError::Contended(_) | StoreError::Data(_) => {}
        }
        match self.backend.store.void(id).await {
            Ok(Fate::Applied) => Ok(()),
            Ok(Fate::Void) if alone => Err(FlushError::fatal(error)),
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
            eprintln!("counters: the ledger could not be pruned: {error}");
        }
    }
}

/// Any of these may be cancelled where it awaits, by the flush timeout or at the end. The buffer then
/// takes it that the batch may have been applied or not, and sends it again under the same id.
impl AsyncDataBuffer<String, Sum<i64>> for Sink {
    type Error = StoreError;

    /// Not used: batches are applied whole, below.
    async fn handle_flush(&self, key: &String, _: &Sum<i64>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(format!("{key:?} came without its batch")))
    }

    async fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError<StoreError>> {
        self.backend.begin_flush();
        let id = self.backend.ledger_id(batch.id());
        let mut deltas = Deltas::default();
        for entry in batch.sorted() {
            deltas.keys.push(entry.key());
            deltas.values.push(entry.data().0);
        }
        let applied = self.backend.store.apply(id, &deltas).await;
        let result = match applied {
            Ok(Fate::Applied) => Ok(()),
            // Made void by an earlier attempt whose answer was lost.
            Ok(Fate::Void) => Err(StoreError::Data(format!("batch {id} has been made void"))),
            Err(error) => Err(error),
        };
        self.backend.note(&result);
        match result {
            Ok(()) => {
                self.prune(batch.settled_below() as i64).await;
                Ok(())
            }
            Err(error) => self.refuse(batch, id, error).await,
        }
    }

    async fn handle_error(&self, failed: FailedFlush<String, Sum<i64>>) -> Verdict<Sum<i64>> {
        // Retries never end, so only fatal failures arrive here, and their batch is void.
        let reason = failed.failure().to_string();
        let letter = Letter::new(failed.key(), failed.data().0, None, failed.attempts(), reason);
        match self.backend.letters.append(vec![letter]).await {
            Ok(()) => Verdict::Done,
            Err(error) => {
                let path = self.backend.letters.path().display();
                self.backend.note_trouble(&format!("{path}: {error}"));
                Verdict::Requeue(failed.into_data())
            }
        }
    }
}
