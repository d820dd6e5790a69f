//! All totals in memory (`--hydrate`): reads that ask no database.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use write_behind::{BatchId, FlushBatch, Sum, SummingBuffer};

use crate::exact_read::{Counter, in_memory};

/// What the database holds, as far as this process knows: what it held at the start, and what this
/// process has written since. That is all of it while nobody else writes.
///
/// One entry for each counter there is, for ever: 100 to 150 bytes and the key.
pub(crate) struct Totals {
    /// Guards the totals. The buffer is looked into while this is held, and never the other way
    /// round.
    persisted: RwLock<HashMap<String, Persisted>>,
}

#[derive(Default)]
struct Persisted {
    value: i64,
    /// The last of this process's batches that `value` contains.
    last: Option<BatchId>,
}

impl Totals {
    pub(crate) fn new(loaded: Vec<(String, i64)>) -> Self {
        let entry = |(key, value)| (key, Persisted { value, last: None });
        Totals { persisted: RwLock::new(loaded.into_iter().map(entry).collect()) }
    }

    /// Takes in a batch of which the database has said that it is applied, before the buffer is told.
    ///
    /// The answer may come more than once: the sink can be cancelled between this and its end, and then
    /// the buffer sends the batch again. A key is in one batch at a time, so the last one is enough to
    /// know it by.
    pub(crate) fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) {
        let mut totals = self.persisted.write().unwrap_or_else(PoisonError::into_inner);
        for entry in batch.entries() {
            if !totals.contains_key(entry.key()) {
                totals.insert(entry.key().clone(), Persisted::default());
            }
            let Some(total) = totals.get_mut(entry.key()) else { continue };
            if total.last != Some(batch.id()) {
                // The database has refused what does not fit; only what others write can differ.
                total.value = total.value.saturating_add(entry.data().0);
                total.last = Some(batch.id());
            }
        }
    }

    /// Reads a counter. `None` for a key never seen.
    ///
    /// No batch can be taken in while the lock is held, so the buffer and what is persisted are seen
    /// at one instant: what is in flight is persisted already if it is in the last batch taken in.
    pub(crate) fn read(&self, buffer: &SummingBuffer<String, i64>, key: &str) -> Option<Counter> {
        let totals = self.persisted.read().unwrap_or_else(PoisonError::into_inner);
        let seen = buffer.peek(key);
        let total = totals.get(key);
        if total.is_none() && seen.is_empty() {
            return None;
        }
        let (value, last) = total.map_or((0, None), |total| (total.value, total.last));
        let applied = seen.in_flight.is_some_and(|(_, batch)| last == Some(batch));
        Some(Counter::new(key, value.into(), in_memory(&seen, applied)))
    }
}
