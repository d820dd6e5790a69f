use std::sync::Arc;

use crate::batch::{BatchId, Content, Entry, FlushBatch, FlushContext, FlushReason};

/// Makes a [`FlushBatch`], to call a sink with: [`FlushBatch::builder`]. Feature `test-util`.
///
/// ```
/// use write_behind::{FlushBatch, FlushReason, Sum};
///
/// // The third attempt of batch 7, when 1 to 5 are settled.
/// let batch = FlushBatch::builder(0xa1, 7)
///     .attempt(3)
///     .settled_below(6)
///     .entry("/home", Sum(3), 2)
///     .reason(FlushReason::Size)
///     .entry("/news", Sum(1_000), 1_000)
///     .build();
/// assert_eq!((batch.attempt(), batch.settled_below(), batch.inserts()), (3, 6, 1_002));
/// assert_eq!(batch.entries()[1].reason(), FlushReason::Size);
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct BatchBuilder<K, V> {
    id: BatchId,
    entries: Vec<Entry<K, V>>,
    attempt: u32,
    settled_below: u64,
    epoch: u64,
    reason: FlushReason,
}

impl<K, V> BatchBuilder<K, V> {
    /// Adds a key with its aggregate, which has absorbed so many inserts. A buffer has no key twice in a batch.
    pub fn entry(mut self, key: K, data: V, count: u64) -> Self {
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry::of(key, data, count, self.reason, index));
        self
    }

    /// Why the entries that are added from here on are flushed. Default: [`FlushReason::Deadline`].
    pub fn reason(mut self, reason: FlushReason) -> Self {
        self.reason = reason;
        self
    }

    /// Which attempt it is. Default: 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The lowest sequence that is not settled. Default: 1; a buffer never says more than the batch's own
    /// sequence.
    pub fn settled_below(mut self, sequence: u64) -> Self {
        self.settled_below = sequence;
        self
    }

    /// The epoch of its instance. Default: 1.
    ///
    /// ```
    /// use write_behind::{FlushBatch, Sum};
    ///
    /// // What a process has sent, and what the one that takes over from it sends again.
    /// let of_epoch = |epoch| FlushBatch::builder(0xa1, 7).epoch(epoch).entry("/home", Sum(3), 2).build();
    /// let (sent, again) = (of_epoch(1), of_epoch(2));
    /// assert_eq!((sent.id(), sent.epoch(), again.epoch()), (again.id(), 1, 2));
    /// ```
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The batch.
    #[must_use]
    pub fn build(self) -> FlushBatch<K, V> {
        let BatchBuilder { id, entries, attempt, settled_below, epoch, .. } = self;
        FlushBatch { content: Arc::new(Content { id, entries }), attempt, settled_below, epoch }
    }
}

impl BatchId {
    /// An id by hand. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::BatchId;
    ///
    /// assert_eq!(BatchId::new(0xa1, 7).to_string(), "00000000000000a1-7");
    /// ```
    #[must_use]
    pub fn new(instance: u64, sequence: u64) -> Self {
        BatchId { instance, sequence }
    }
}

impl<K, V> FlushBatch<K, V> {
    /// Makes a batch by hand, to call a sink with in a unit test. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::{BatchDataBuffer, FlushBatch, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl BatchDataBuffer<&'static str, Sum<i64>> for Totals {
    ///     fn handle_flush_batch(&self, batch: &FlushBatch<&'static str, Sum<i64>>) -> Result<(), FlushError> {
    ///         FlushError::entries(batch.entries().iter().filter(|entry| entry.data().0 < 0).map(|entry| {
    ///             entry.failed(FlushError::not_applied("totals only grow").give_up())
    ///         }))
    ///     }
    /// }
    ///
    /// let batch = FlushBatch::builder(0xa1, 7).entry("/home", Sum(3), 2).entry("/news", Sum(-1), 1).build();
    /// let error = Totals.handle_flush_batch(&batch).unwrap_err();
    /// assert_eq!(error.failed_entries(), [1]);
    /// assert!(error.is_not_applied() && error.gives_up());
    /// ```
    pub fn builder(instance: u64, sequence: u64) -> BatchBuilder<K, V> {
        BatchBuilder {
            id: BatchId { instance, sequence },
            entries: Vec::new(),
            attempt: 1,
            settled_below: 1,
            epoch: 1,
            reason: FlushReason::Deadline,
        }
    }

    /// The same content under the same id, as its next attempt: what a buffer sends when the outcome of this one is
    /// unknown. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::{FlushBatch, Sum};
    ///
    /// let first = FlushBatch::builder(0xa1, 7).entry("/home", Sum(3), 2).build();
    /// let second = first.next_attempt();
    /// assert_eq!((second.id(), second.attempt(), second.inserts()), (first.id(), 2, 2));
    /// ```
    #[must_use]
    pub fn next_attempt(&self) -> Self {
        FlushBatch { attempt: self.attempt + 1, ..self.clone() }
    }

    /// What a sink that writes key by key is told about this batch, which has one entry for such a sink.
    /// Feature `test-util`.
    ///
    /// ```
    /// use write_behind::{DataBuffer, FlushBatch, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl DataBuffer<&'static str, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &&'static str, _: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {} views under {}", context.count(), context.id());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let batch = FlushBatch::builder(0xa1, 7).entry("/home", Sum(3), 2).build();
    /// assert!(Totals.handle_flush(&"/home", &Sum(3), &batch.context()).is_ok());
    /// ```
    #[must_use]
    pub fn context(&self) -> FlushContext {
        FlushContext::new(self)
    }
}
