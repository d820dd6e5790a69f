//! What becomes of data that could not be flushed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{BatchId, Entry};
use crate::failure::FailureCause;

/// What [`DataBuffer::handle_error`](crate::DataBuffer::handle_error) decides about a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict<K, V> {
    /// Keep the data as undelivered: counted in [`Stats::undelivered`](crate::Stats::undelivered), told to
    /// observers, offered again by [`Buffer::retry_undelivered`](crate::Buffer::retry_undelivered) and
    /// returned by [`Buffer::shutdown`](crate::Buffer::shutdown). Its memory counts towards the bounds
    /// until then. What the provided `handle_error` does.
    Keep(DeadLetter<K, V>),
    /// Put the data back, with fresh attempts, an interval and jitter from now: it cannot loop hot.
    ///
    /// Where no attempt was applied it is merged with newer data of its key, before it. Where one
    /// [may have been](DeadLetter::may_be_applied), the identical batch is sent again under the same id, so
    /// that a sink that records ids counts it once. That takes the whole batch: if `handle_error` did not
    /// say `Requeue` for all its keys, those for which it did are kept as [undelivered](Self::Keep)
    /// instead. During shutdown nothing is put back: it is kept.
    Requeue(DeadLetter<K, V>),
    /// **Loses the data** unless you have stored it elsewhere: the buffer forgets it.
    Forget,
}

/// A key and its data whose attempts are spent, handed to
/// [`DataBuffer::handle_error`](crate::DataBuffer::handle_error).
#[derive(Debug)]
pub struct DeadLetter<K, V> {
    entry: Option<Entry<K, V>>,
    about: About,
    rescued: Rescued<K, V>,
}

/// What is known about data that was given up.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) batch: BatchId,
    pub(crate) attempts: u32,
    pub(crate) cause: FailureCause,
    pub(crate) may_be_applied: bool,
}

/// Where an entry is to be found that `handle_error` did not take out.
pub(crate) type Rescued<K, V> = Arc<Mutex<Option<Entry<K, V>>>>;

impl<K, V> DeadLetter<K, V> {
    pub(crate) fn new(entry: Entry<K, V>, about: About, rescued: Rescued<K, V>) -> Self {
        DeadLetter { entry: Some(entry), about, rescued }
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

    /// Its place in the batch that was given up.
    pub(crate) fn place(&self) -> usize {
        self.entry().index as usize
    }

    /// It has turned out that no attempt was or will be applied.
    pub(crate) fn dispel_doubt(&mut self) {
        self.about.may_be_applied = false;
    }

    /// How many inserts the data holds.
    pub fn count(&self) -> u64 {
        self.entry().count
    }

    /// The id of the batch that it was last sent in: where an attempt
    /// [may have been applied](Self::may_be_applied), this is what tells whether it was. If the sink
    /// [named this key alone](crate::FlushError::entries) as failed, the id that its next attempt would
    /// have had.
    pub fn batch(&self) -> BatchId {
        self.about.batch
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.about.attempts
    }

    /// Why the last attempt failed.
    pub fn cause(&self) -> &FailureCause {
        &self.about.cause
    }

    /// Whether an attempt may have been applied after all. If so, applying the data by other means can
    /// count it twice: look first whether [`batch`](Self::batch) is there.
    pub fn may_be_applied(&self) -> bool {
        self.about.may_be_applied
    }

    /// Takes key and data out. From here on a panic loses them, as with anything that you own.
    pub fn into_parts(mut self) -> (K, V) {
        let entry = self.entry.take().expect("the entry leaves only with self");
        (entry.key, entry.data)
    }
}

impl<K, V> Drop for DeadLetter<K, V> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            *self.rescued.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        }
    }
}

/// Tells a sink that its buffer is over: [`DataBuffer::handle_retired`](crate::DataBuffer::handle_retired).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retirement {
    /// The instance whose batches will be sent no more ([`BatchId::instance`]).
    pub instance: u64,
    /// How many inserts were not delivered, whose batches somebody may still want to look for. If it is
    /// zero, everything that was recorded about this instance can be forgotten.
    pub undelivered: u64,
}
