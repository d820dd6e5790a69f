//! What the sink and the HTTP side share.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use write_behind::{BatchId, FailureCause, FlushEvent, Observer};

use crate::dead_letters::DeadLetters;
use crate::folding::Folding;
use crate::store::{LedgerId, Store, StoreError, Writer};
use crate::totals::Totals;

pub(crate) struct Backend {
    pub(crate) store: Box<dyn Store>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) writer: Writer,
    /// With `--hydrate`.
    pub(crate) totals: Option<Totals>,
    pub(crate) folding: Folding,
    /// Guards the last write's error, for `/healthz`.
    trouble: Mutex<Option<String>>,
    flushes_begun: AtomicU64,
}

impl Backend {
    pub(crate) fn new(store: Box<dyn Store>, letters: DeadLetters, writer: Writer) -> Self {
        let (flushes_begun, trouble) = (AtomicU64::new(0), Mutex::new(None));
        let (letters, folding) = (Arc::new(letters), Folding::default());
        Backend { store, letters, writer, totals: None, folding, trouble, flushes_begun }
    }

    /// Loads all totals, so that reads are answered from memory.
    pub(crate) async fn hydrate(&mut self) -> Result<(), StoreError> {
        self.totals = Some(Totals::new(self.store.load().await?));
        Ok(())
    }

    /// A writer that nobody was before. The standard library's hasher is seeded by the system.
    pub(crate) fn new_writer() -> Writer {
        std::hash::RandomState::new().hash_one("writer") as Writer
    }

    /// The ledger's name for a batch. There is one buffer in this process, so its sequence is
    /// enough; the writer is registered before the first batch exists.
    pub(crate) fn ledger_id(&self, batch: BatchId) -> LedgerId {
        LedgerId { writer: self.writer, sequence: batch.sequence as i64 }
    }

    pub(crate) fn begin_flush(&self) {
        self.flushes_begun.fetch_add(1, Ordering::SeqCst);
    }

    /// How many flushes have begun. Sequentially consistent: whoever sees a flush's effect in the
    /// database sees it counted here.
    pub(crate) fn flushes_begun(&self) -> u64 {
        self.flushes_begun.load(Ordering::SeqCst)
    }

    pub(crate) fn note_success(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Told once per outage, not once per attempt.
    pub(crate) fn note_trouble(&self, trouble: &str) {
        let mut current = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_none() {
            tracing::warn!(error = trouble, "cannot write, will try again");
        }
        *current = Some(trouble.to_owned());
    }

    /// Bad data is a client's trouble; everything else is the database's.
    pub(crate) fn note(&self, result: &Result<(), StoreError>) {
        match result {
            Err(StoreError::Unavailable(trouble)) => self.note_trouble(trouble),
            Ok(()) | Err(StoreError::Data(_) | StoreError::Contended(_)) => self.note_success(),
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.or_else(|| self.folding.trouble())
    }
}

/// Notes what the sink does not live to see: that it was cancelled.
pub(crate) struct Cancellations(pub(crate) Arc<Backend>);

impl Observer for Cancellations {
    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, cause: &FailureCause, _: Duration) {
        if let FailureCause::TimedOut(after) = cause {
            self.0.note_trouble(&format!("the database did not answer within {after:?}"));
        }
    }
}
