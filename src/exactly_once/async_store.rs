use std::future::Future;
use std::sync::Arc;

use super::error::StoreError;
use super::fate::Fate;
use crate::batch::{BatchId, FlushBatch};
use crate::dead_letter::{DeadLetter, Verdict};
use crate::writer::Writer;

/// A [`Store`](super::Store) that is reached by `async` calls: the same methods, which promise the same. Write
/// plain `async fn`s; their futures must be `Send`. Feature `tokio`.
///
/// # Cancel safety
///
/// Each future may be dropped wherever it awaits, by the flush timeout or at the end. Its transaction may then be
/// done, not done, or still under way in the database; what must not happen is half of it. Connections that were
/// dropped half-way are best closed.
///
/// ```
/// use std::sync::Arc;
/// use write_behind::exactly_once::{AsyncStore, Fate, Store, StoreError};
/// use write_behind::{BatchId, FlushBatch, Writer};
///
/// /// A blocking store, for sinks on a runtime.
/// struct Elsewhere<S>(Arc<S>);
///
/// impl<K, V, S> AsyncStore<K, V> for Elsewhere<S>
/// where
///     K: Clone + Send + Sync + 'static,
///     V: Send + Sync + 'static,
///     S: Store<K, V>,
/// {
///     async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
///         let store = Arc::clone(&self.0);
///         tokio::task::spawn_blocking(move || store.register(writer)).await?
///     }
///     // ... and so on.
/// #     async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> { self.0.apply(batch) }
/// #     async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> { self.0.void(batch, epoch) }
/// #     async fn prune(&self, writer: Writer, below: u64) -> Result<(), StoreError> { self.0.prune(writer, below) }
/// #     async fn retire(&self, writer: Writer) -> Result<(), StoreError> { self.0.retire(writer) }
/// }
/// ```
pub trait AsyncStore<K: Send + Sync, V: Send + Sync>: Send + Sync {
    /// As [`Store::register`](super::Store::register).
    fn register(&self, writer: Writer) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// As [`Store::apply`](super::Store::apply).
    fn apply(&self, batch: &FlushBatch<K, V>) -> impl Future<Output = Result<Fate, StoreError>> + Send;

    /// As [`Store::void`](super::Store::void).
    fn void(&self, batch: BatchId, epoch: u64) -> impl Future<Output = Result<Fate, StoreError>> + Send;

    /// As [`Store::prune`](super::Store::prune).
    fn prune(
        &self,
        writer: Writer,
        settled_below: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`Store::retire`](super::Store::retire).
    fn retire(&self, writer: Writer) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`Store::handle_error`](super::Store::handle_error). Provided: keeps the data as undelivered.
    fn handle_error(&self, letter: DeadLetter<K, V>) -> impl Future<Output = Verdict<K, V>> + Send {
        async move { Verdict::Keep(letter) }
    }

    /// As [`Store::handle_shed`](super::Store::handle_shed). Not async: it runs inside `insert`. Provided: **drops
    /// it**.
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }
}

impl<K: Send + Sync, V: Send + Sync, S: AsyncStore<K, V>> AsyncStore<K, V> for Arc<S> {
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        S::register(self, writer).await
    }

    async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        S::apply(self, batch).await
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        S::void(self, batch, epoch).await
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        S::prune(self, writer, settled_below).await
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        S::retire(self, writer).await
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        S::handle_error(self, letter).await
    }

    fn handle_shed(&self, key: K, data: V) {
        S::handle_shed(self, key, data);
    }
}
