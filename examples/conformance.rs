//! Two sinks before the conformance kit: one that adds and asks nobody, and one that counts exactly once.
//!
//!     cargo run --example conformance

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use write_behind::conformance::Conformance;
use write_behind::{BatchDataBuffer, BatchId, FlushBatch, FlushError, Retirement, Sum};

/// Stands in for a database: whoever holds the lock is in a transaction.
#[derive(Default)]
struct Tables {
    totals: HashMap<String, i64>,
    /// The ledger: whether a batch was applied, or is void.
    batches: BTreeMap<BatchId, bool>,
    /// By instance: everything below is settled, and its record deleted.
    settled_below: HashMap<u64, u64>,
    /// A key that violates a constraint, for a while.
    refused: Option<String>,
}

#[derive(Clone, Default)]
struct Database(Arc<Mutex<Tables>>);

impl Database {
    fn begin(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Batch = FlushBatch<String, Sum<i64>>;

impl Tables {
    fn add(&mut self, batch: &Batch) -> Result<(), &'static str> {
        if batch.entries().iter().any(|entry| self.refused.as_ref() == Some(entry.key())) {
            return Err("constraint violated");
        }
        for entry in batch.sorted() {
            *self.totals.entry(entry.key().clone()).or_default() += entry.data().0;
        }
        Ok(())
    }
}

struct Naive(Database);

impl BatchDataBuffer<String, Sum<i64>> for Naive {
    fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        Ok(self.0.begin().add(batch)?)
    }
}

struct ExactlyOnce(Database);

impl BatchDataBuffer<String, Sum<i64>> for ExactlyOnce {
    fn handle_flush_batch(&self, batch: &Batch) -> Result<(), FlushError> {
        let mut tables = self.0.begin();
        let BatchId { instance, sequence, .. } = batch.id();
        let settled = tables.settled_below.entry(instance).or_default();
        *settled = batch.settled_below().max(*settled);
        let settled = *settled;
        tables.batches.retain(|id, _| id.instance != instance || id.sequence >= settled);
        if sequence < settled {
            return Err("this attempt comes too late".into());
        }
        match tables.batches.get(&batch.id()) {
            Some(true) => Ok(()),
            Some(false) => Err(void(batch, "made void by an earlier attempt")),
            None => {
                let added = tables.add(batch);
                tables.batches.insert(batch.id(), added.is_ok());
                added.map_err(|error| void(batch, error))
            }
        }
    }

    fn handle_retired(&self, retirement: &Retirement) {
        if retirement.undelivered == 0 {
            let mut tables = self.0.begin();
            tables.batches.retain(|id, _| id.instance != retirement.instance);
        }
    }
}

/// No attempt of this batch will ever be applied: its keys can go on under other ids. A single key has no
/// better chance under another one.
fn void(batch: &Batch, error: &'static str) -> FlushError {
    let error = FlushError::never_applied(error);
    if batch.len() == 1 { error.give_up() } else { error }
}

fn main() {
    let kit = |database: &Database| {
        let refusing = database.clone();
        Conformance::new(|n| format!("page-{n}"), Sum)
            .refuse(move |page| refusing.begin().refused = page.cloned())
    };

    let database = Database::default();
    let naive = kit(&database).run(|| Naive(database.clone()), || database.begin().totals.clone());
    println!("The naive sink: {naive}\n");
    naive.assert_at_least_once();

    let database = Database::default();
    let right = kit(&database).run(|| ExactlyOnce(database.clone()), || database.begin().totals.clone());
    println!("The other sink: {right}");
    right.assert_exactly_once();
}
