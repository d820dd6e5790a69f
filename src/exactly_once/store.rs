use std::sync::Arc;

use super::error::StoreError;
use super::fate::Fate;
use crate::batch::{BatchId, FlushBatch};
use crate::dead_letter::{DeadLetter, Verdict};

/// A place for data with transactions and a ledger, reached by blocking calls. [`ExactlyOnce`](super::ExactlyOnce)
/// makes a sink of it.
///
/// The ledger holds for each registered instance the lowest sequence that is not settled (its *gate*, 0 at
/// first), and for each of its batches that were applied or made void the [`Fate`], until that is pruned. Each
/// method is one transaction and durable when it returns. All may be called at any time, by several threads and
/// processes, again, and when an earlier call is still under way in the database.
///
/// A whole store is in the example of the [module](super).
pub trait Store<K: Send + Sync, V: Send + Sync>: Send + Sync + 'static {
    /// Makes an instance known, with a gate of 0. Changes nothing if it is known already. Called once for each
    /// instance before its first batch, and again if the ledger turns out to have forgotten it.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; the batch is sent again.
    fn register(&self, instance: u64) -> Result<(), StoreError>;

    /// Applies a batch and records its fate, both or neither, unless the ledger says otherwise:
    ///
    /// - if the instance is unknown, nothing is done, and the answer is [`Fate::Unregistered`];
    /// - if a fate is recorded, nothing is done, and that is the answer;
    /// - if the sequence is below the gate, nothing is done, and the answer is [`Fate::Settled`].
    ///
    /// Of two calls for the same batch at the same time one waits for the other. Nor may the gate rise between the
    /// look at it and the end of the transaction: lock its row for sharing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says what is known. Nothing may stay of a transaction that failed for certain.
    fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError>;

    /// Records that a batch is void, unless the ledger says otherwise, as in [`apply`](Self::apply). From then on
    /// copies of it that are still under way do nothing.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    fn void(&self, batch: BatchId) -> Result<Fate, StoreError>;

    /// Raises the gate of an instance to `settled_below`, unless it is higher, and forgets the fates below the
    /// gate. Does nothing if the instance is unknown. The gate rises first, or at the same instant.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; it is done the next time.
    fn prune(&self, instance: u64, settled_below: u64) -> Result<(), StoreError>;

    /// Forgets an instance and all its fates. Its buffer is over and nothing of it is undelivered.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; the records stay behind.
    fn retire(&self, instance: u64) -> Result<(), StoreError>;

    /// Decides about a key that is given up. Provided: keeps it as undelivered. As
    /// [`DataBuffer::handle_error`](crate::DataBuffer::handle_error), with one difference: where an attempt
    /// [may have been applied](DeadLetter::may_be_applied) the batch has been made void before, so nothing of what
    /// arrives here counts or ever will, and the letter says so.
    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        Verdict::Keep(letter)
    }

    /// Takes an item that was turned away because memory is full. Provided: **drops it**. As
    /// [`DataBuffer::handle_shed`](crate::DataBuffer::handle_shed).
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }
}

impl<K: Send + Sync, V: Send + Sync, S: Store<K, V> + ?Sized> Store<K, V> for Arc<S> {
    fn register(&self, instance: u64) -> Result<(), StoreError> {
        S::register(self, instance)
    }

    fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        S::apply(self, batch)
    }

    fn void(&self, batch: BatchId) -> Result<Fate, StoreError> {
        S::void(self, batch)
    }

    fn prune(&self, instance: u64, settled_below: u64) -> Result<(), StoreError> {
        S::prune(self, instance, settled_below)
    }

    fn retire(&self, instance: u64) -> Result<(), StoreError> {
        S::retire(self, instance)
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        S::handle_error(self, letter)
    }

    fn handle_shed(&self, key: K, data: V) {
        S::handle_shed(self, key, data);
    }
}
