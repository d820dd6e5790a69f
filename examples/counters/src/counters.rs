//! What the service asks of a database besides what the buffer does.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use write_behind::exactly_once::{Exact, StoreError};
use write_behind::{BatchId, Sum};

/// A counter, wider than a total as not all parts of it need be in one place, and the fate of a batch.
pub(crate) type Reading = write_behind::exactly_once::Reading<Option<i128>>;

/// Whoever waits for one of these may give up.
#[async_trait]
pub(crate) trait Counters: Send + Sync + 'static {
    /// Reads a counter and what became of `batch`, at one instant.
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError>;

    /// Adds to a counter: what a service without a buffer does.
    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError>;

    /// Waits until what a process was writing that has been killed since is over.
    async fn await_predecessors(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Reads all counters.
    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        Err("only --sink upsert can load its counters".into())
    }

    /// One step of what is to be done in the background: what flushes have put down elsewhere is moved to the totals.
    /// Returns how long to wait until the next step, zero if there is more; `None` if there is nothing to do, ever.
    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }
}

/// Adds without ever wrapping.
pub(crate) fn checked_total(key: &str, before: i64, value: i64) -> Result<i64, String> {
    before.checked_add(value).ok_or_else(|| format!("the total of {key:?} would no longer fit into 64 bits"))
}

/// The sums are wider than what the database holds, so that they never wrap.
#[derive(Debug, Serialize)]
pub(crate) struct Counter {
    key: String,
    /// What is in the database.
    persisted: i128,
    /// What is in memory, in flight included.
    pending: i128,
    total: i128,
}

impl Counter {
    /// `None` for a key never seen.
    pub(crate) fn new(key: &str, exact: Exact<Option<i128>, Sum<i64>>) -> Option<Self> {
        if exact.stored.is_none() && exact.waiting.is_empty() {
            return None;
        }
        let persisted = exact.stored.unwrap_or(0);
        let pending = exact.waiting.iter().map(|sum| i128::from(sum.0)).sum();
        Some(Counter { key: key.to_owned(), persisted, pending, total: persisted + pending })
    }
}
