use super::{BatchId, FlushBatch, FlushReason};

/// What a sink of single keys is told besides key and data.
///
/// To a sink that [flushes key by key](crate::DataBuffer) every key is a batch of its own, with an id of
/// its own: record it with the data, skip what is recorded already, and a key's data counts once even if
/// an answer was lost.
///
/// ```
/// use std::collections::{HashMap, HashSet};
/// use std::sync::Mutex;
/// use write_behind::{BatchId, DataBuffer, FlushContext, FlushError, Sum};
///
/// #[derive(Default)]
/// struct Store {
///     tables: Mutex<(HashMap<String, i64>, HashSet<BatchId>)>,
/// }
///
/// impl DataBuffer<String, Sum<i64>> for Store {
///     fn handle_flush(&self, page: &String, views: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
///         let mut tables = self.tables.lock().map_err(|_| "poisoned")?; // the transaction
///         let (totals, applied) = &mut *tables;
///         if applied.insert(context.id()) {
///             *totals.entry(page.clone()).or_default() += views.0;
///         }
///         Ok(())
///     }
/// }
/// # let (store, batch) = (Store::default(), write_behind::FlushBatch::builder(1, 1).entry((), (), 1).build());
/// # for _ in 0..2 { store.handle_flush(&"a".to_owned(), &Sum(3), &batch.context()).unwrap(); }
/// # assert_eq!(store.tables.lock().unwrap().0["a"], 3);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FlushContext {
    id: BatchId,
    attempt: u32,
    reason: FlushReason,
    count: u64,
    settled_below: u64,
    epoch: u64,
}

impl FlushContext {
    pub(crate) fn new<K, V>(batch: &FlushBatch<K, V>) -> Self {
        FlushContext {
            id: batch.id(),
            attempt: batch.attempt(),
            reason: batch.reason(),
            count: batch.inserts(),
            settled_below: batch.settled_below(),
            epoch: batch.epoch(),
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

    /// As [`FlushBatch::epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}
