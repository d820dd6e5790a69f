//! What the service asks of a database besides what the buffer does, and exact reads while it does it.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use write_behind::exactly_once::{Fate, StoreError};
use write_behind::{BatchId, Peek, Sum, SummingBuffer};

/// A counter and the fate of a batch, read at one instant.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Wider than a total, as not all parts of it need be in one place.
    pub(crate) value: Option<i128>,
    pub(crate) fate: Option<Fate>,
}

impl Reading {
    /// `fate`: as the ledger has it.
    pub(crate) fn new(value: Option<i128>, fate: Option<&str>) -> Result<Self, StoreError> {
        Ok(Reading { value, fate: fate.map(str::parse).transpose()? })
    }
}

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
    /// Returns how long to wait until the next step; `None` if there is nothing to do, ever.
    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }

    /// Folds what is there at the end: nobody may be there to do it later.
    async fn fold_all(&self) -> Result<(), StoreError> {
        Ok(())
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
    /// `applied`: what is in flight is in the database already. `None` for a key never seen.
    pub(crate) fn new(key: &str, stored: Option<i128>, seen: &Peek<Sum<i64>>, applied: bool) -> Option<Self> {
        if stored.is_none() && seen.is_empty() {
            return None;
        }
        let in_flight = seen.in_flight.filter(|_| !applied).map(|(sum, _)| sum);
        let pending = seen.pending.iter().chain(&in_flight).map(|sum| i128::from(sum.0)).sum();
        let persisted = stored.unwrap_or(0);
        Some(Counter { key: key.to_owned(), persisted, pending, total: persisted + pending })
    }
}

/// How often a read begins anew when a flush got in between.
const ATTEMPTS: usize = 100;

/// Reads a counter exactly while it is being counted and written: see [`Peek::stayed_until`].
///
/// Exact where what was flushed can be read. With `--sink nats` it may still be in the stream.
pub(crate) async fn read(
    buffer: &SummingBuffer<String, i64>,
    counters: &dyn Counters,
    key: &str,
) -> Result<Option<Counter>, StoreError> {
    for _ in 0..ATTEMPTS {
        let seen = buffer.peek(key);
        let reading = counters.read(key, seen.in_flight.map(|(_, batch)| batch)).await?;
        let applied = match reading.fate {
            None | Some(Fate::Void) => false,
            Some(Fate::Applied) => true,
            // Some of it was refused, which the buffer is about to hear.
            Some(_) => continue,
        };
        if seen.stayed_until(&buffer.peek(key)) {
            return Ok(Counter::new(key, reading.value, &seen, applied));
        }
    }
    Err("the counter moves too fast".into())
}
