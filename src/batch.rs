//! What a sink is handed: entries of several keys under one id.

use std::fmt;
use std::sync::Arc;

use crate::failure::{FailedEntry, FlushError};

/// Identifies the content of a batch: the same on every attempt of the same content, never used
/// again for anything else.
///
/// `instance` is 64 random bits drawn when the buffer starts; `sequence` counts up from 1, with gaps, within
/// it. Record the pair in the transaction that applies the batch and skip it when it is there
/// already, and a batch counts once even if the answer to its commit was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct BatchId {
    /// Which start of which buffer.
    pub instance: u64,
    /// Which batch of that instance.
    pub sequence: u64,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.instance, self.sequence)
    }
}

/// Why a generation left the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlushReason {
    /// Its deadline came, or that of a step of [`Builder::interval_at_count`](crate::Builder::interval_at_count).
    Deadline,
    /// It reached [`Builder::flush_at_count`](crate::Builder::flush_at_count), or could not absorb the next item.
    Size,
    /// Its aggregate said that it [is ready](crate::Aggregate::is_ready).
    Complete,
    /// The whole buffer reached [`Builder::flush_all_at_count`](crate::Builder::flush_all_at_count).
    Volume,
    /// `flush`, `flush_and_wait`, `flush_all` or `flush_all_and_wait` asked for it.
    Requested,
    /// Memory was full and [`Overflow::FlushOldest`](crate::Overflow::FlushOldest) made room.
    Pressure,
    /// The buffer is shutting down.
    Shutdown,
}

/// One key's generation inside a batch.
#[derive(Debug)]
pub struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) data: V,
    pub(crate) count: u64,
    pub(crate) weight: u64,
    pub(crate) reason: FlushReason,
    pub(crate) hash: u32,
    pub(crate) partition: u32,
    /// Its place in the batch.
    pub(crate) index: u32,
    /// While it is kept as undelivered: whether it counts as a key by itself, and not newer data of its key.
    pub(crate) counts_as_key: bool,
    /// By how many milliseconds its deadline was passed when it was taken.
    pub(crate) late: u32,
}

impl<K, V> Entry<K, V> {
    /// An entry that comes from no table.
    #[cfg(any(feature = "dead-letters", feature = "test-util"))]
    pub(crate) fn of(key: K, data: V, count: u64, reason: FlushReason, index: u32) -> Self {
        let (weight, hash, partition, counts_as_key, late) = (1, 0, 0, true, 0);
        Entry { key, data, count, weight, reason, hash, partition, index, counts_as_key, late }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The key's aggregate.
    pub fn data(&self) -> &V {
        &self.data
    }

    /// How many inserts the aggregate absorbed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Why this entry is in the batch.
    pub fn reason(&self) -> FlushReason {
        self.reason
    }

    /// Says that this entry failed, for [`FlushError::entries`]. `error` says also what is known about
    /// the effect; a plain error means that it is not known.
    pub fn failed(&self, error: impl Into<FlushError>) -> FailedEntry {
        FailedEntry::new(self.index, error.into())
    }
}

/// What stays the same over all attempts.
#[derive(Debug)]
pub(crate) struct Content<K, V> {
    pub(crate) id: BatchId,
    pub(crate) entries: Vec<Entry<K, V>>,
}

impl<K, V> Content<K, V> {
    pub(crate) fn inserts(&self) -> u64 {
        self.entries.iter().map(|entry| entry.count).sum()
    }
}

/// Generations of one or more different keys, handed to the sink in one call.
///
/// Entries stand in the order in which they fell due, at most
/// [`Builder::max_batch_keys`](crate::Builder::max_batch_keys) of them, never none, and no key
/// twice.
#[derive(Debug)]
pub struct FlushBatch<K, V> {
    pub(crate) content: Arc<Content<K, V>>,
    pub(crate) attempt: u32,
    pub(crate) settled_below: u64,
}

impl<K, V> FlushBatch<K, V> {
    /// The batch's id.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.content.id
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the batch's first entry was taken; each [`Entry`] has its own reason.
    pub fn reason(&self) -> FlushReason {
        self.content.entries.first().map_or(FlushReason::Deadline, Entry::reason)
    }

    /// The entries, in the order in which they fell due.
    #[must_use]
    pub fn entries(&self) -> &[Entry<K, V>] {
        &self.content.entries
    }

    /// The entries in the order of their keys.
    ///
    /// Write multi-row statements in this order: two transactions that lock the same rows in
    /// different orders deadlock (Postgres error 40P01). O(n log n).
    #[must_use]
    pub fn sorted(&self) -> Vec<&Entry<K, V>>
    where
        K: Ord,
    {
        let mut entries: Vec<_> = self.entries().iter().collect();
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        entries
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no entry; a sink never sees such a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// How many inserts all entries absorbed together.
    #[must_use]
    pub fn inserts(&self) -> u64 {
        self.content.inserts()
    }

    /// Every batch of this instance whose sequence is below this number is settled and will not be
    /// sent again: a record of applied batch ids can forget it.
    #[must_use]
    pub fn settled_below(&self) -> u64 {
        self.settled_below
    }
}

/// What a sink of single keys is told besides key and data.
///
/// To a sink that [flushes key by key](crate::DataBuffer) every key is a batch of its own, with an id of
/// its own: record it with the data, skip what is recorded already, and a key's data counts once even if
/// an answer was lost.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FlushContext {
    id: BatchId,
    attempt: u32,
    reason: FlushReason,
    count: u64,
    settled_below: u64,
}

impl FlushContext {
    pub(crate) fn new<K, V>(batch: &FlushBatch<K, V>) -> Self {
        FlushContext {
            id: batch.id(),
            attempt: batch.attempt(),
            reason: batch.reason(),
            count: batch.inserts(),
            settled_below: batch.settled_below(),
        }
    }

    /// Identifies this content: the same on every attempt, never used again.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the key is flushed now.
    #[must_use]
    pub fn reason(&self) -> FlushReason {
        self.reason
    }

    /// How many inserts the data absorbed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// As [`FlushBatch::settled_below`].
    #[must_use]
    pub fn settled_below(&self) -> u64 {
        self.settled_below
    }
}
