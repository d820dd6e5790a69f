use crate::batch::BatchId;

/// Which batch of an instance: a [`BatchId`] without the instance, which is the same for all that a buffer
/// has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) const FIRST: Sequence = Sequence(1);

    /// Stands for all of an earlier life.
    pub(crate) const EARLIER: Sequence = Sequence(0);

    pub(crate) fn of(id: BatchId) -> Self {
        Sequence(id.sequence)
    }

    pub(crate) fn id(self, instance: u64) -> BatchId {
        BatchId { instance, sequence: self.0 }
    }

    pub(crate) fn numbered(number: u64) -> Self {
        Sequence(number)
    }

    /// As sinks are told it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// So many batches later.
    pub(crate) fn after(self, batches: usize) -> Self {
        Sequence(self.0 + batches as u64)
    }

    /// This one and those that follow it, `end` not included.
    pub(crate) fn until(self, end: Sequence) -> impl Iterator<Item = Sequence> {
        (self.0..end.0).map(Sequence)
    }
}
