//! Totals by key, and what has been applied.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use write_behind::BatchId;

/// Totals by key, and a ledger that forgets what is settled.
pub(crate) struct Totals(Mutex<(Vec<i64>, BTreeSet<BatchId>)>);

impl Totals {
    pub(crate) fn new(keys: usize) -> Self {
        Totals(Mutex::new((vec![0; keys], BTreeSet::new())))
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<i64>, BTreeSet<BatchId>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a batch, once.
    pub(crate) fn apply(&self, id: BatchId, settled_below: u64, entries: impl Iterator<Item = (u64, i64)>) {
        let (totals, ids) = &mut *self.lock();
        assert!(id.sequence >= settled_below, "{id} was said to be settled");
        if ids.insert(id) {
            entries.for_each(|(key, amount)| totals[key as usize] += amount);
        }
        while ids.first().is_some_and(|first| first.sequence < settled_below) {
            ids.pop_first();
        }
    }

    pub(crate) fn is_applied(&self, id: BatchId) -> bool {
        self.lock().1.contains(&id)
    }

    pub(crate) fn add(&self, key: u64, amount: i64) {
        self.lock().0[key as usize] += amount;
    }

    pub(crate) fn all(&self) -> Vec<i64> {
        self.lock().0.clone()
    }
}
