//! What has happened so far, for the display and for the account.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::generator::STREAMS;
use crate::tweet::TweetId;

/// Relaxed: counters order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last tweet that was taken in from each stream.
    taken: [AtomicI64; STREAMS as usize],
    /// Events that came again after a reconnection.
    pub(crate) repeated: Counter,
    pub(crate) reconnects: Counter,
    /// How often a reader had to wait for room.
    pub(crate) waits: Counter,
    pub(crate) stored: Counter,
    pub(crate) batches: Counter,
    pub(crate) failed_writes: Counter,
    /// Inserts that a buffer refused: it was closed already, because time was up.
    pub(crate) refused: Counter,
    /// Guards the names of the malformed tweets.
    malformed: Mutex<Vec<TweetId>>,
    /// Guards since when the database cannot be written to, and why.
    trouble: Mutex<Option<(Instant, String)>>,
    /// Guards since when tweets are being written.
    writing: Mutex<Option<Instant>>,
}

impl Progress {
    pub(crate) fn note_taken(&self, id: TweetId) {
        self.taken[((id - 1) % STREAMS) as usize].store(id, Ordering::Relaxed);
    }

    /// The last tweet of each stream, 0 if none.
    pub(crate) fn last_taken(&self) -> Vec<TweetId> {
        self.taken.iter().map(|id| id.load(Ordering::Relaxed)).collect()
    }

    /// How many tweets have been taken in.
    pub(crate) fn taken(&self) -> u64 {
        self.last_taken().iter().map(|id| (id + STREAMS - 1) / STREAMS).sum::<i64>() as u64
    }

    /// Looks at what an insert came to.
    pub(crate) fn count_refused<E>(&self, inserted: Result<(), E>) {
        if inserted.is_err() {
            self.refused.add(1);
        }
    }

    pub(crate) fn note_malformed(&self, id: TweetId) {
        lock(&self.malformed).push(id);
    }

    pub(crate) fn malformed(&self) -> Vec<TweetId> {
        let mut malformed = lock(&self.malformed).clone();
        malformed.sort_unstable();
        malformed
    }

    pub(crate) fn count_malformed(&self) -> u64 {
        lock(&self.malformed).len() as u64
    }

    /// Tweets are being written from now on, or still, if that was cancelled and is tried again.
    pub(crate) fn begin_writing(&self) {
        lock(&self.writing).get_or_insert_with(Instant::now);
    }

    pub(crate) fn end_writing(&self) {
        *lock(&self.writing) = None;
    }

    pub(crate) fn writing_for(&self) -> Duration {
        lock(&self.writing).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// What a write came to.
    pub(crate) fn note_write(&self, result: Result<(), &str>) {
        let mut trouble = lock(&self.trouble);
        match result {
            Ok(()) => *trouble = None,
            Err(why) => {
                self.failed_writes.add(1);
                let since = trouble.take().map_or_else(Instant::now, |(since, _)| since);
                *trouble = Some((since, why.to_owned()));
            }
        }
    }

    pub(crate) fn trouble(&self) -> Option<(Instant, String)> {
        lock(&self.trouble).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
