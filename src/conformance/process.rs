//! A process with a buffer in it, as far as a sink can tell.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::batch::{BatchId, Content, FlushBatch};
use crate::dead_letter::Retirement;
use crate::driver::user::callbacks::Callbacks;

/// So many inserts into the key of this number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot {
    pub(super) key: u32,
    pub(super) amount: i64,
}

/// A batch in flight.
pub(super) struct Flight<K, V> {
    pub(super) content: Arc<Content<K, V>>,
    pub(super) lots: Rc<[Lot]>,
    /// The batch in which its inserts were sent first.
    pub(super) origin: BatchId,
    pub(super) attempts: u32,
    /// An attempt may have been applied.
    pub(super) frozen: bool,
    /// How often `handle_error` has put it back.
    pub(super) requeued: u32,
}

impl<K, V> Flight<K, V> {
    pub(super) fn id(&self) -> BatchId {
        self.content.id
    }

    /// The same batch in another process, which knows of no attempts, but that there may have been some.
    pub(super) fn inherit(&self) -> Self {
        let (content, lots) = (Arc::clone(&self.content), Rc::clone(&self.lots));
        Flight { content, lots, origin: self.origin, attempts: 0, frozen: true, requeued: 0 }
    }
}

/// An attempt, to be delivered now or later.
pub(super) struct Sent<K, V> {
    pub(super) batch: FlushBatch<K, V>,
    pub(super) lots: Rc<[Lot]>,
    pub(super) origin: BatchId,
    pub(super) restarts: u32,
}

impl<K, V> Clone for Sent<K, V> {
    fn clone(&self) -> Self {
        let Sent { batch, lots, origin, restarts } = self;
        Sent { batch: batch.clone(), lots: Rc::clone(lots), origin: *origin, restarts: *restarts }
    }
}

/// An instance, and its sink.
pub(super) struct Process<K, V> {
    pub(super) instance: u64,
    pub(super) callbacks: Callbacks<K, V>,
    pub(super) epoch: u64,
    /// Another process has taken over: nothing that this one still does may count.
    pub(super) replaced: bool,
    /// How often the process has died.
    pub(super) restarts: u32,
    next_sequence: u64,
    open: BTreeSet<u64>,
    /// Inserts that are kept as undelivered.
    pub(super) undelivered: u64,
}

impl<K: 'static, V: 'static> Process<K, V> {
    pub(super) fn new(instance: u64, callbacks: Callbacks<K, V>) -> Self {
        Process {
            instance,
            callbacks,
            epoch: 1,
            replaced: false,
            restarts: 0,
            next_sequence: 1,
            open: BTreeSet::new(),
            undelivered: 0,
        }
    }

    /// The process that goes on with these batches, and where this one stopped counting. This one does not notice.
    pub(super) fn replace(&mut self, callbacks: Callbacks<K, V>, inherited: &[Flight<K, V>]) -> Self {
        self.replaced = true;
        Process {
            instance: self.instance,
            callbacks,
            epoch: self.epoch + 1,
            replaced: false,
            restarts: self.restarts + 1,
            next_sequence: self.next_sequence,
            open: inherited.iter().map(|flight| flight.id().sequence).collect(),
            undelivered: 0,
        }
    }

    /// A new batch.
    pub(super) fn reserve(&mut self) -> BatchId {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.open.insert(sequence);
        BatchId { instance: self.instance, sequence }
    }

    /// Sequences have gaps.
    pub(super) fn skip(&mut self, sequences: u64) {
        self.next_sequence += sequences;
    }

    /// The batch is settled.
    pub(super) fn end(&mut self, batch: BatchId) {
        self.open.remove(&batch.sequence);
    }

    /// The lowest sequence that is open.
    pub(super) fn settled_below(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next_sequence)
    }

    /// Begins the next attempt.
    pub(super) fn begin(&self, flight: &mut Flight<K, V>) -> Sent<K, V> {
        flight.attempts += 1;
        let batch = FlushBatch {
            content: Arc::clone(&flight.content),
            attempt: flight.attempts,
            settled_below: self.settled_below(),
            epoch: self.epoch,
        };
        Sent { batch, lots: Rc::clone(&flight.lots), origin: flight.origin, restarts: self.restarts }
    }

    /// The buffer has ended.
    pub(super) async fn retire(self) {
        let Process { instance, epoch, callbacks, undelivered, .. } = self;
        callbacks.handle_retired(&Retirement { instance, epoch, undelivered }).await;
        callbacks.drop_sink();
    }
}
