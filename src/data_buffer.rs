//! The trait that users implement: where data goes.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{BatchId, Entry, FlushBatch};
use crate::failure::{FlushError, FlushFailure, flush_each};

/// The sink: the user's type that a buffer hands data to.
///
/// Implement [`handle_flush`](Self::handle_flush) to write one key, or override
/// [`handle_flush_batch`](Self::handle_flush_batch) to write many in one go (one SQL statement for
/// a thousand keys).
///
/// Callbacks run on the buffer's worker threads, at most
/// [`Builder::flush_threads`](crate::Builder::flush_threads) at once, outside all locks and with
/// panics contained. They may call every method of the buffer, best through a
/// [`WeakBuffer`](crate::WeakBuffer); a call that would wait for itself returns an error.
///
/// A key has at most one generation in flight, so two calls never work on the same key at once and
/// per key data arrives in insert order. Calls for different keys run side by side.
///
/// ```
/// use write_behind::DataBuffer;
///
/// struct AuditLog;
///
/// impl DataBuffer<String, Vec<String>> for AuditLog {
///     type Error = std::io::Error;
///
///     fn handle_flush(&self, user: &String, actions: &Vec<String>) -> Result<(), Self::Error> {
///         println!("{user}: {actions:?}");
///         Ok(())
///     }
/// }
/// ```
pub trait DataBuffer<K, V>: Send + Sync + 'static {
    /// What can go wrong: any error type, `String` or `Box<dyn Error + Send + Sync>`.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Writes one key's aggregate. `Ok` means that it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// An error means that the outcome is unknown: this key is retried alone, with the same data,
    /// by the [`RetryPolicy`](crate::RetryPolicy). To say more than that, override
    /// [`handle_flush_batch`](Self::handle_flush_batch). A panic counts as an error.
    fn handle_flush(&self, key: &K, data: &V) -> Result<(), Self::Error>;

    /// Writes a batch. Provided: calls [`handle_flush`](Self::handle_flush) key by key, so that a
    /// failing key fails alone.
    ///
    /// # Errors
    ///
    /// The [`FlushError`] says what is known about the outcome. A panic counts as
    /// [`FlushError::unknown`] for the whole batch.
    fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError<Self::Error>> {
        flush_each(batch, |key, data| self.handle_flush(key, data))
    }

    /// Takes over a key whose last attempt failed, or whose failure was fatal: write it to a
    /// dead-letter file, drop it, or put it back. Provided: drops it (observers and
    /// [`Stats::gave_up`](crate::Stats::gave_up) still tell).
    ///
    /// If this panics before the data was taken out of `failed`, the data is kept as undelivered:
    /// counted in [`Stats::undelivered`](crate::Stats::undelivered) and returned by
    /// [`Buffer::shutdown`](crate::Buffer::shutdown).
    fn handle_error(&self, failed: FailedFlush<K, V>) -> Verdict<V> {
        drop(failed);
        Verdict::Done
    }

    /// Takes an item that [`Overflow::Shed`](crate::Overflow::Shed) turned away because memory is
    /// full. Runs on the inserting thread. Provided: drops it (observers and
    /// [`Stats::shed`](crate::Stats::shed) still tell). `data` is an aggregate that holds just that
    /// item.
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }
}

/// What becomes of data that could not be flushed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict<V> {
    /// It has been dealt with; the buffer forgets it.
    Done,
    /// Put this data back, before newer data of its key. The key gets a fresh deadline (interval
    /// and jitter from now, newer data and earlier requests to flush it included) and fresh attempts,
    /// so requeueing cannot loop hot. Data that weighs more than before may exceed the bound until it
    /// is flushed. During shutdown nothing is put back: the data is returned as undelivered.
    Requeue(V),
}

/// A key and its data whose attempts are spent, handed to [`DataBuffer::handle_error`].
#[derive(Debug)]
pub struct FailedFlush<K, V> {
    entry: Option<Entry<K, V>>,
    batch: BatchId,
    attempts: u32,
    failure: FlushFailure,
    rescued: Rescued<K, V>,
}

/// Where an entry is to be found that `handle_error` did not take out.
pub(crate) type Rescued<K, V> = Arc<Mutex<Option<Entry<K, V>>>>;

impl<K, V> FailedFlush<K, V> {
    pub(crate) fn new(
        entry: Entry<K, V>,
        batch: BatchId,
        attempts: u32,
        failure: FlushFailure,
        rescued: Rescued<K, V>,
    ) -> Self {
        FailedFlush { entry: Some(entry), batch, attempts, failure, rescued }
    }

    fn entry(&self) -> &Entry<K, V> {
        self.entry.as_ref().expect("the entry leaves only with self")
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.entry().key
    }

    /// The data.
    pub fn data(&self) -> &V {
        &self.entry().data
    }

    /// How many inserts the data holds.
    pub fn count(&self) -> u64 {
        self.entry().count
    }

    /// The id of the batch that it was last sent in. If that attempt's outcome is unknown, this is
    /// what tells whether it was applied after all.
    pub fn batch(&self) -> BatchId {
        self.batch
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last attempt's failure.
    pub fn failure(&self) -> &FlushFailure {
        &self.failure
    }

    /// Takes key and data out. From here on a panic loses them, as with anything that you own.
    pub fn into_parts(mut self) -> (K, V) {
        let entry = self.entry.take().expect("the entry leaves only with self");
        (entry.key, entry.data)
    }

    /// Takes the data out, for [`Verdict::Requeue`].
    pub fn into_data(self) -> V {
        self.into_parts().1
    }
}

impl<K, V> Drop for FailedFlush<K, V> {
    fn drop(&mut self) {
        let mut rescued = self.rescued.lock().unwrap_or_else(PoisonError::into_inner);
        *rescued = self.entry.take();
    }
}
