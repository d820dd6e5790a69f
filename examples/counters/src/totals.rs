//! All totals in memory (`--hydrate`): reads that ask no database.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use write_behind::exactly_once::Fate;
use write_behind::{BatchId, FlushBatch, Sum};

use crate::counters::Reading;

/// What the database holds, as far as this process knows: what it held at the start, and what this process has written
/// since. One entry for each counter there is, for ever: 100 to 150 bytes and the key.
pub(crate) struct Totals {
    /// Guards each total, and the last of this process's batches that it contains. A key is in one batch at a time, so
    /// the last one is enough to know it by.
    persisted: RwLock<HashMap<String, (i64, Option<BatchId>)>>,
}

impl Totals {
    pub(crate) fn new(loaded: Vec<(String, i64)>) -> Self {
        let entry = |(key, value)| (key, (value, None));
        Totals { persisted: RwLock::new(loaded.into_iter().map(entry).collect()) }
    }

    /// Takes in what the database has said of a batch, before the buffer is told. It may say so more than once.
    pub(crate) fn apply(&self, batch: &FlushBatch<String, Sum<i64>>, fate: &Fate) {
        let refused = match fate {
            Fate::Applied => &[][..],
            Fate::AppliedExcept(refused) => refused,
            _ => return,
        };
        let mut totals = self.persisted.write().unwrap_or_else(PoisonError::into_inner);
        for (place, entry) in batch.entries().iter().enumerate() {
            if refused.iter().any(|rejection| rejection.place == place) {
                continue;
            }
            let (value, last) = totals.entry(entry.key().clone()).or_default();
            if *last != Some(batch.id()) {
                // The database has refused what does not fit; only what others write can differ.
                *value = value.saturating_add(entry.data().0);
                *last = Some(batch.id());
            }
        }
    }

    /// Reads a counter, and whether `batch` is in it.
    pub(crate) fn read(&self, key: &str, batch: Option<BatchId>) -> Reading {
        let totals = self.persisted.read().unwrap_or_else(PoisonError::into_inner);
        let (value, last) = totals.get(key).copied().unzip();
        let is_in_it = batch.is_some() && batch == last.flatten();
        Reading::new(value.map(i128::from), is_in_it.then_some(Fate::Applied))
    }
}
