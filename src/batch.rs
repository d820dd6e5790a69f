//! What a sink is handed: entries of several keys under one id.

mod context;

use std::fmt;
use std::sync::Arc;

use crate::engine::shard::Need;
use crate::failure::{FailedEntry, FlushError};
use crate::key::KeptHash;

pub use context::FlushContext;

/// Identifies the content of a batch: the same on every attempt of the same content, never used
/// again for anything else.
///
/// `instance` is 64 random bits, drawn when the buffer starts, or with a journal when that is made: then they are kept in
/// it, and all buffers that are started with it have the same. `sequence` counts up from 1, with gaps, within
/// it; a start with a journal leaves a gap of 2³². Record the pair in the transaction that applies the batch and skip it when it is there
/// already, and a batch counts once even if the answer to its commit was lost.
///
/// ```
/// use std::collections::HashSet;
/// use write_behind::BatchId;
///
/// /// Stands for a table that is written in the same transaction as the data.
/// fn is_new(applied: &mut HashSet<BatchId>, id: BatchId) -> bool {
///     applied.insert(id)
/// }
/// # let mut applied = HashSet::new();
/// # let id = BatchId::new(0xa1, 7);
/// # assert!(is_new(&mut applied, id) && !is_new(&mut applied, id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct BatchId {
    /// Which start of which buffer; with a journal, which journal. Which start of that:
    /// [`FlushBatch::epoch`].
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
///
/// ```
/// use write_behind::{Entry, FlushReason, Sum};
///
/// /// Whether keys come so often that a longer interval would help nobody.
/// fn is_busy(entry: &Entry<String, Sum<i64>>) -> bool {
///     matches!(entry.reason(), FlushReason::Size | FlushReason::Volume)
/// }
/// # let batch = write_behind::FlushBatch::builder(1, 1).reason(FlushReason::Size).entry(String::new(), Sum(1), 1);
/// # assert!(is_busy(&batch.build().entries()[0]));
/// ```
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

impl FlushReason {
    /// All, by their codes.
    const ALL: [FlushReason; 7] = [
        FlushReason::Deadline,
        FlushReason::Size,
        FlushReason::Complete,
        FlushReason::Volume,
        FlushReason::Requested,
        FlushReason::Pressure,
        FlushReason::Shutdown,
    ];

    /// A number that stays the same for good, from 0.
    pub(crate) fn code(self) -> u8 {
        match self {
            FlushReason::Deadline => 0,
            FlushReason::Size => 1,
            FlushReason::Complete => 2,
            FlushReason::Volume => 3,
            FlushReason::Requested => 4,
            FlushReason::Pressure => 5,
            FlushReason::Shutdown => 6,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// One key's generation inside a batch.
///
/// ```
/// use write_behind::{Entry, Sum};
///
/// fn row(entry: &Entry<String, Sum<i64>>) -> String {
///     format!("{} {:+} ({} inserts)", entry.key(), entry.data().0, entry.count())
/// }
/// # let batch = write_behind::FlushBatch::builder(1, 1).entry("/home".to_owned(), Sum(7), 3).build();
/// # assert_eq!(row(&batch.entries()[0]), "/home +7 (3 inserts)");
/// ```
#[derive(Debug)]
pub struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) data: V,
    pub(crate) count: u64,
    pub(crate) weight: u64,
    pub(crate) reason: FlushReason,
    pub(crate) hash: KeptHash,
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
    #[cfg(any(feature = "test-util", feature = "serde"))]
    pub(crate) fn of(key: K, data: V, count: u64, reason: FlushReason, index: u32) -> Self {
        let (weight, hash, partition, counts_as_key, late) = (1, KeptHash::of(0), 0, true, 0);
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
    ///
    /// ```
    /// use write_behind::{FlushBatch, FlushError};
    ///
    /// fn write(batch: &FlushBatch<String, u64>) -> Result<(), FlushError> {
    ///     let too_long = batch.entries().iter().filter(|entry| entry.key().len() > 255);
    ///     // It never gets shorter: no further attempt, `handle_error` decides.
    ///     FlushError::entries(too_long.map(|entry| entry.failed(FlushError::not_applied("key too long").give_up())))
    /// }
    /// # assert!(write(&FlushBatch::builder(1, 1).entry("a".to_owned(), 1, 1).build()).is_ok());
    /// # assert!(write(&FlushBatch::builder(1, 1).entry("a".repeat(256), 1, 1).build()).unwrap_err().gives_up());
    /// ```
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

    /// The room that it takes.
    pub(crate) fn need(&self) -> Need {
        let weight = self.entries.iter().map(|entry| entry.weight).sum();
        Need { keys: self.entries.len() as u64, weight }
    }
}

/// Generations of one or more different keys, handed to the sink in one call.
///
/// Entries stand in the order in which they fell due, at most
/// [`Builder::max_batch_keys`](crate::Builder::max_batch_keys) of them, never none, and no key
/// twice.
///
/// ```
/// use write_behind::{FlushBatch, FlushError, Sum};
/// # type Rows<'a> = Vec<(&'a String, i64)>;
/// # fn insert(_: Rows<'_>, _: String) -> Result<(), std::io::Error> { Ok(()) }
///
/// fn write(batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
///     let rows = batch.sorted().iter().map(|entry| (entry.key(), entry.data().0)).collect();
///     insert(rows, batch.id().to_string())?; // both in one transaction
///     Ok(())
/// }
/// # assert!(write(&FlushBatch::builder(1, 1).entry("a".to_owned(), Sum(1), 1).build()).is_ok());
/// ```
#[derive(Debug)]
pub struct FlushBatch<K, V> {
    pub(crate) content: Arc<Content<K, V>>,
    pub(crate) attempt: u32,
    pub(crate) settled_below: u64,
    pub(crate) epoch: u64,
}

/// Another handle to the same batch, as for a thread that writes it. Copies no data.
impl<K, V> Clone for FlushBatch<K, V> {
    fn clone(&self) -> Self {
        FlushBatch { content: Arc::clone(&self.content), ..*self }
    }
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
    ///
    /// ```
    /// use write_behind::{FlushBatch, Sum};
    ///
    /// let batch = FlushBatch::builder(0xa1, 7).entry("b", Sum(1), 1).entry("a", Sum(2), 1).build();
    /// let keys: Vec<_> = batch.sorted().iter().map(|entry| *entry.key()).collect();
    /// assert_eq!(keys, ["a", "b"]);
    /// ```
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
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// use write_behind::{BatchId, FlushBatch, Sum};
    ///
    /// fn prune(applied: &mut BTreeSet<BatchId>, batch: &FlushBatch<String, Sum<i64>>) {
    ///     let BatchId { instance, .. } = batch.id();
    ///     applied.retain(|id| id.instance != instance || id.sequence >= batch.settled_below());
    /// }
    /// # let mut applied = BTreeSet::from([BatchId::new(1, 1), BatchId::new(1, 2), BatchId::new(2, 1)]);
    /// # prune(&mut applied, &FlushBatch::builder(1, 3).settled_below(2).entry("a".to_owned(), Sum(1), 1).build());
    /// # assert_eq!(applied.len(), 2);
    /// ```
    #[must_use]
    pub fn settled_below(&self) -> u64 {
        self.settled_below
    }

    /// How often the buffer was started with this instance, counting this start: 1 in a buffer that keeps nothing on
    /// disk, whose instance never comes back. Of two processes with one instance the one with the higher epoch has
    /// replaced the other: a record of applied batches keeps the highest epoch that it has seen of an instance, and
    /// refuses batches of lower ones.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use write_behind::{FlushBatch, Sum};
    ///
    /// fn is_replaced(epochs: &mut HashMap<u64, u64>, batch: &FlushBatch<String, Sum<i64>>) -> bool {
    ///     let highest = epochs.entry(batch.id().instance).or_insert(0);
    ///     *highest = batch.epoch().max(*highest);
    ///     batch.epoch() < *highest
    /// }
    /// # let batch = |epoch| FlushBatch::builder(1, 1).epoch(epoch).entry("a".to_owned(), Sum(1), 1).build();
    /// # let mut epochs = HashMap::new();
    /// # assert!(!is_replaced(&mut epochs, &batch(2)) && is_replaced(&mut epochs, &batch(1)));
    /// ```
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}
