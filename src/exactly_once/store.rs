use std::sync::Arc;

use super::error::StoreError;
use super::fate::Fate;
use crate::batch::{BatchId, FlushBatch};
use crate::dead_letter::{DeadLetter, Verdict};
use crate::writer::Writer;

/// A place for data with transactions and a ledger, reached by blocking calls. [`ExactlyOnce`](super::ExactlyOnce)
/// makes a sink of it.
///
/// The ledger holds for each registered instance the lowest sequence that is not settled (its *gate*, 0 at
/// first) and the highest epoch that has registered, and for each of its batches that were applied or made void the
/// [`Fate`], until that is pruned. Each method is one transaction and durable when it returns. All may be called at any
/// time, by several threads and processes, again, and when an earlier call is still under way in the database.
///
/// *Epochs.* A buffer that was started again with the instance of its predecessor has a higher epoch. Whatever a lower
/// one than the ledger's asks for, is not done: its process was replaced, and only does not know it yet.
///
/// A whole store is in the example of the [module](super).
pub trait Store<K: Send + Sync, V: Send + Sync>: Send + Sync + 'static {
    /// Makes an instance known, with a gate of 0 and the writer's epoch; if it is known already, raises its epoch to
    /// the writer's, unless it is higher, and leaves gate and fates as they are. Returns the epoch that the ledger has
    /// then: one that is higher than the writer's has taken over from it. Called once for each writer before its first
    /// batch, and again if the ledger turns out to have forgotten it.
    ///
    /// Waits for transactions under way that have looked at the instance's row.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; the batch is sent again.
    fn register(&self, writer: Writer) -> Result<u64, StoreError>;

    /// Applies a batch and records its fate, both or neither, unless the ledger says otherwise:
    ///
    /// - if the instance is unknown, or its epoch lower than the [batch's](FlushBatch::epoch), nothing is done, and the
    ///   answer is [`Fate::Unregistered`];
    /// - if its epoch is higher, nothing is done, and the answer is [`Fate::Superseded`], whatever is recorded;
    /// - if a fate is recorded, nothing is done, and that is the answer;
    /// - if the sequence is below the gate, nothing is done, and the answer is [`Fate::Settled`].
    ///
    /// Of two calls for the same batch at the same time one waits for the other. Nor may gate or epoch rise between
    /// the look at them and the end of the transaction: lock their row for sharing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says what is known. Nothing may stay of a transaction that failed for certain.
    fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError>;

    /// Records that a batch is void, unless the ledger says otherwise, as in [`apply`](Self::apply). From then on
    /// copies of it that are still under way do nothing. `epoch`: that of the one who asks, 1 for a buffer that keeps
    /// nothing on disk.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError>;

    /// Raises the gate of an instance to `settled_below`, unless it is higher, and forgets the fates below the
    /// gate. Does nothing if the instance is unknown or its epoch higher than the writer's. The gate rises first, or at
    /// the same instant.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; it is done the next time.
    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError>;

    /// Forgets an instance and all its fates, unless its epoch is higher than the writer's. Its buffer is over and
    /// nothing of it is undelivered.
    ///
    /// # Errors
    ///
    /// Whatever the store has to say; the records stay behind.
    fn retire(&self, writer: Writer) -> Result<(), StoreError>;

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
    fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        S::register(self, writer)
    }

    fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        S::apply(self, batch)
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        S::void(self, batch, epoch)
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        S::prune(self, writer, settled_below)
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        S::retire(self, writer)
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        S::handle_error(self, letter)
    }

    fn handle_shed(&self, key: K, data: V) {
        S::handle_shed(self, key, data);
    }
}
