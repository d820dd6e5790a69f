//! Who sends batches.

use crate::batch::FlushBatch;

/// Who sends batches: an instance, and how often it was started.
///
/// A buffer that goes on where its predecessor stopped has the predecessor's instance and a higher epoch. What still
/// arrives of a lower epoch comes from a process that has been replaced, whether it knows that or not, and a
/// [store](crate::exactly_once::Store) refuses it.
///
/// ```
/// use write_behind::{FlushBatch, Writer};
///
/// let batch = FlushBatch::builder(0xa1, 7).epoch(3).entry("/home", 1, 1).build();
/// assert_eq!(batch.writer(), Writer::new(0xa1, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Writer {
    /// [`BatchId::instance`](crate::BatchId::instance) of its batches.
    pub instance: u64,
    /// [`FlushBatch::epoch`] of its batches, from 1.
    pub epoch: u64,
}

impl Writer {
    /// A writer. A buffer says which one it is: [`Buffer::writer`](crate::Buffer::writer).
    ///
    /// ```
    /// use write_behind::Writer;
    ///
    /// assert_eq!(Writer::new(0xa1, 1).epoch, 1);
    /// ```
    #[must_use]
    pub fn new(instance: u64, epoch: u64) -> Self {
        Writer { instance, epoch }
    }
}

impl<K, V> FlushBatch<K, V> {
    /// Who sends it: its instance and its [`epoch`](Self::epoch).
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer { instance: self.id().instance, epoch: self.epoch() }
    }
}
