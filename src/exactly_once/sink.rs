use std::future::{Future, ready};

use super::async_store::AsyncStore;
use super::error::StoreError;
use super::fate::Fate;
use super::protocol::Protocol;
use super::store::Store;
#[cfg(feature = "tokio")]
use crate::async_data_buffer::AsyncBatchDataBuffer;
use crate::batch::{BatchId, FlushBatch};
use crate::data_buffer::BatchDataBuffer;
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::driver::user::future::complete;
use crate::failure::FlushError;
use crate::writer::Writer;

/// A sink that counts each insert once, whatever is repeated, cancelled, overtaken, split or sent again after a
/// restart: what it is made of is a [`Store`], for [`Builder::start`](crate::Builder::start), or an
/// [`AsyncStore`], for `start_async` (feature `tokio`).
///
/// What it does, and why, is in [the guide](crate::guide::exactly_once); in short:
///
/// - It registers its buffer's instance and epoch before the first batch.
/// - A batch is applied together with a record of its id. What is recorded already is not applied again.
/// - An error of unknown outcome is handed on as such, and the identical batch comes again.
/// - Where the store has rejected a batch because of an entry, the id is made void before its halves go on under
///   other ids; so are batches that are given up while an attempt may have been applied. What turns out to be
///   applied is not given up.
/// - Where a higher epoch has taken over, batches fail with an unknown outcome and are kept whole: they are the
///   successor's, and are not given up here.
/// - Single entries that the store has refused are given up; the others count.
/// - Records of settled batches are pruned, and when the buffer is over and nothing is undelivered the ledger
///   forgets its instance.
///
/// Cost: one transaction for each batch, one more every [`prune_every`](Self::prune_every) sequences, and two in
/// the life of a buffer. One sink may serve several buffers, in an `Arc`.
///
/// An example is in the documentation of the [module](super).
#[derive(Debug)]
pub struct ExactlyOnce<S> {
    store: S,
    protocol: Protocol,
}

impl<S> ExactlyOnce<S> {
    /// Makes a sink of a store.
    #[must_use]
    pub fn new(store: S) -> Self {
        ExactlyOnce { store, protocol: Protocol::new() }
    }

    /// How many sequences are settled before their records are pruned: the ledger holds about so many records for
    /// each instance, besides those of batches in flight. Default: 64. Zero counts as one.
    ///
    /// ```
    /// use write_behind::exactly_once::ExactlyOnce;
    ///
    /// # let store = ();
    /// let sink = ExactlyOnce::new(store).prune_every(1_000);
    /// # let _ = sink;
    /// ```
    #[must_use]
    pub fn prune_every(mut self, sequences: u64) -> Self {
        self.protocol.prune_every = sequences.max(1);
        self
    }

    /// The store.
    ///
    /// ```
    /// use write_behind::exactly_once::ExactlyOnce;
    ///
    /// assert_eq!(ExactlyOnce::new("a store").store(), &"a store");
    /// ```
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Makes a buffer, as its [`writer`](crate::Buffer::writer), known to the store now, and not with its first batch: so
    /// that a ledger that cannot be written to is found at the start. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the store; or a higher epoch of its instance has taken over.
    pub fn register<K: Send + Sync, V: Send + Sync>(&self, writer: Writer) -> Result<(), StoreError>
    where
        S: Store<K, V>,
    {
        complete(self.protocol.register(&Blocking(&self.store), writer))
    }

    /// As [`register`](Self::register), for an async store. Feature `tokio`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use write_behind::exactly_once::{AsyncStore, ExactlyOnce, StoreError};
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    ///
    /// async fn start<S>(store: S) -> Result<SummingBuffer<String, i64>, Box<dyn std::error::Error + Send + Sync>>
    /// where
    ///     S: AsyncStore<String, Sum<i64>> + 'static,
    /// {
    ///     let sink = Arc::new(ExactlyOnce::new(store));
    ///     let views: SummingBuffer<String, i64> = Buffer::builder().start_async(Arc::clone(&sink))?;
    ///     let registered = sink.register_async::<String, Sum<i64>>(views.writer()).await;
    ///     registered.map_err(StoreError::into_cause)?;
    ///     Ok(views)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub async fn register_async<K: Send + Sync, V: Send + Sync>(
        &self,
        writer: Writer,
    ) -> Result<(), StoreError>
    where
        S: AsyncStore<K, V>,
    {
        self.protocol.register(&self.store, writer).await
    }

    /// How often the store has failed to prune or to retire, for monitoring. Nothing counts twice or not at all
    /// for that; if it grows and grows, so does the ledger.
    ///
    /// ```
    /// use write_behind::exactly_once::ExactlyOnce;
    ///
    /// assert_eq!(ExactlyOnce::new("a store").housekeeping_failures(), 0);
    /// ```
    #[must_use]
    pub fn housekeeping_failures(&self) -> u64 {
        self.protocol.housekeeping_failures()
    }
}

impl<K: Send + Sync, V: Send + Sync, S: Store<K, V>> BatchDataBuffer<K, V> for ExactlyOnce<S> {
    fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError> {
        complete(self.protocol.flush(&Blocking(&self.store), batch))
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        complete(self.protocol.give_up(&Blocking(&self.store), letter))
    }

    fn handle_shed(&self, key: K, data: V) {
        self.store.handle_shed(key, data);
    }

    fn handle_retired(&self, retirement: &Retirement) {
        complete(self.protocol.retire(&Blocking(&self.store), retirement));
    }
}

#[cfg(feature = "tokio")]
impl<K: Send + Sync, V: Send + Sync, S: AsyncStore<K, V> + 'static> AsyncBatchDataBuffer<K, V>
    for ExactlyOnce<S>
{
    async fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError> {
        self.protocol.flush(&self.store, batch).await
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        self.protocol.give_up(&self.store, letter).await
    }

    fn handle_shed(&self, key: K, data: V) {
        self.store.handle_shed(key, data);
    }

    async fn handle_retired(&self, retirement: &Retirement) {
        self.protocol.retire(&self.store, retirement).await;
    }
}

/// A store that blocks: its futures are ready when they are made.
struct Blocking<'a, S>(&'a S);

impl<K: Send + Sync, V: Send + Sync, S: Store<K, V>> AsyncStore<K, V> for Blocking<'_, S> {
    fn register(&self, writer: Writer) -> impl Future<Output = Result<u64, StoreError>> + Send {
        ready(self.0.register(writer))
    }

    fn apply(&self, batch: &FlushBatch<K, V>) -> impl Future<Output = Result<Fate, StoreError>> + Send {
        ready(self.0.apply(batch))
    }

    fn void(&self, batch: BatchId, epoch: u64) -> impl Future<Output = Result<Fate, StoreError>> + Send {
        ready(self.0.void(batch, epoch))
    }

    fn prune(&self, writer: Writer, below: u64) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.0.prune(writer, below))
    }

    fn retire(&self, writer: Writer) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.0.retire(writer))
    }

    fn handle_error(&self, letter: DeadLetter<K, V>) -> impl Future<Output = Verdict<K, V>> + Send {
        ready(self.0.handle_error(letter))
    }
}
