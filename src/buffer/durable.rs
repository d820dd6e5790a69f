//! What a journal is asked for. Feature `journal`.

use std::hash::BuildHasher;

use super::Buffer;
use crate::aggregate::{Addend, Aggregate, Sum};
use crate::journal::{DurableError, Recovered, SyncError};
use crate::key::{Key, ToKey};

/// # With a journal (feature `journal`)
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// As [`insert`](Self::insert), and returns when the item is on disk.
    ///
    /// # Errors
    ///
    /// [`DurableError`].
    pub fn insert_durable(&self, key: K, item: V::Item) -> Result<(), DurableError<(K, V::Item)>> {
        self.core().may_sync().map_err(DurableError::NotDurable)?;
        self.insert(key, item).map_err(DurableError::Refused)?;
        self.core().sync().map_err(DurableError::NotDurable)
    }

    /// Returns when everything that was accepted before the call is on disk.
    ///
    /// # Errors
    ///
    /// [`SyncError`].
    pub fn sync(&self) -> Result<(), SyncError> {
        self.core().may_sync()?;
        self.core().sync()
    }

    /// What was found in the journal at the start. `None` without a journal.
    #[must_use]
    pub fn recovered(&self) -> Option<Recovered> {
        self.core().journal.as_ref().map(|journal| journal.recovered())
    }
}

/// # With a journal (features `journal` and `tokio`)
#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// As [`insert_durable`](Self::insert_durable), for a task.
    ///
    /// # Errors
    ///
    /// [`DurableError`].
    pub async fn insert_durable_async(
        &self,
        key: K,
        item: V::Item,
    ) -> Result<(), DurableError<(K, V::Item)>> {
        self.core().may_sync_async().map_err(DurableError::NotDurable)?;
        self.insert(key, item).map_err(DurableError::Refused)?;
        self.core().sync_async().await.map_err(DurableError::NotDurable)
    }

    /// As [`sync`](Self::sync), for a task.
    ///
    /// # Errors
    ///
    /// [`SyncError`].
    pub async fn sync_async(&self) -> Result<(), SyncError> {
        self.core().may_sync_async()?;
        self.core().sync_async().await
    }
}

/// # With a journal (feature `journal`)
impl<K: Key, T: Addend, S: BuildHasher> Buffer<K, Sum<T>, S> {
    /// As [`add`](Self::add), and returns when the amount is on disk.
    ///
    /// # Errors
    ///
    /// [`DurableError`].
    pub fn add_durable<Q: ?Sized + ToKey<K>>(&self, key: &Q, amount: T) -> Result<(), DurableError<T>> {
        self.core().may_sync().map_err(DurableError::NotDurable)?;
        self.add(key, amount).map_err(DurableError::Refused)?;
        self.core().sync().map_err(DurableError::NotDurable)
    }

    /// As [`add_durable`](Self::add_durable), for a task.
    ///
    /// # Errors
    ///
    /// [`DurableError`].
    #[cfg(feature = "tokio")]
    pub async fn add_durable_async<Q: ?Sized + ToKey<K>>(
        &self,
        key: &Q,
        amount: T,
    ) -> Result<(), DurableError<T>> {
        self.core().may_sync_async().map_err(DurableError::NotDurable)?;
        self.add(key, amount).map_err(DurableError::Refused)?;
        self.core().sync_async().await.map_err(DurableError::NotDurable)
    }
}
