use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::async_store::AsyncStore;
use super::error::StoreError;
use super::fate::Fate;
use super::store::Store;
use crate::batch::{BatchId, FlushBatch};
use crate::dead_letter::{DeadLetter, Verdict};
use crate::writer::Writer;

/// A [`Store`] that blocks, such as SQLite, as an [`AsyncStore`]: for
/// [`start_async`](crate::Builder::start_async) and its flush timeout. Its calls are made on threads of the runtime for
/// that, one at a time. Feature `tokio`.
///
/// # Cancel safety
///
/// A call that is dropped while it waits for its turn does nothing. Dropped later its thread goes on and keeps the turn
/// until it is done: the same batch, sent again, waits for that, and there is never more than one thread to wait for.
///
/// [`handle_error`](Store::handle_error) runs where the buffer calls it, so that a letter cannot be lost with its thread.
///
/// ```
/// use std::sync::Arc;
/// use write_behind::exactly_once::{ExactlyOnce, OnThreads, Store};
/// use write_behind::{Buffer, BuildError, Sum, SummingBuffer};
///
/// fn start<S: Store<String, Sum<i64>> + 'static>(store: Arc<S>) -> Result<SummingBuffer<String, i64>, BuildError> {
///     Buffer::builder().start_async(ExactlyOnce::new(OnThreads::new(store)))
/// }
/// ```
#[derive(Debug)]
pub struct OnThreads<S> {
    store: Arc<S>,
    /// Guards nothing but the turn.
    turn: Arc<Mutex<()>>,
}

impl<S> OnThreads<S> {
    /// Takes a store that others may use too.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        OnThreads { store, turn: Arc::default() }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }
}

impl<S: Send + Sync + 'static> OnThreads<S> {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let store = Arc::clone(&self.store);
        spawn_blocking(move || {
            let result = work(&store);
            drop(turn);
            result
        })
        .await?
    }
}

impl<K, V, S> AsyncStore<K, V> for OnThreads<S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Store<K, V> + 'static,
{
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        self.call(move |store| store.register(writer)).await
    }

    async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        let batch = batch.clone();
        self.call(move |store| store.apply(&batch)).await
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        self.call(move |store| store.void(batch, epoch)).await
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        self.call(move |store| store.prune(writer, settled_below)).await
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.call(move |store| store.retire(writer)).await
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        self.store.handle_error(letter)
    }

    fn handle_shed(&self, key: K, data: V) {
        self.store.handle_shed(key, data);
    }
}
