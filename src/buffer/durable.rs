//! What a journal is asked for. Feature `journal`.

use std::hash::BuildHasher;

use super::Buffer;
use crate::aggregate::{Addend, Aggregate, Sum};
use crate::engine::shard::Owned;
use crate::journal::{DurableError, Recovered, SyncError};
use crate::key::{Key, ToKey};

/// # With a journal (feature `journal`)
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// As [`insert`](Self::insert), and returns when the item is on disk: **it then changes the database exactly once,
    /// whatever happens to the process.** (What [`remove`](Self::remove) takes out is yours.) An item that
    /// [`Overflow::Shed`](crate::Overflow::Shed) would turn away is refused instead.
    ///
    /// Costs an insert and the time of a commit, which is a sync of the disk; all that wait at the same time share it. To
    /// insert much, insert it plainly and [`sync`](Self::sync) once.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// use write_behind::journal::Journal;
    /// # fn store(_: &String, _: &Vec<String>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("events.journal");
    ///
    /// let events = Buffer::builder().journal(Journal::at(path)).start(store)?;
    /// events.insert_durable("ada".to_owned(), "paid".to_owned())?;
    /// println!("this order is not lost");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DurableError::Refused`]: as [`insert`](Self::insert), with key and item inside. [`DurableError::Unavailable`]: it
    /// could not have been waited for, with key and item inside. [`DurableError::NotDurable`]: it is in the buffer and not
    /// known to be on disk, at the latest after [`Journal::patience`](crate::journal::Journal::patience).
    pub fn insert_durable(&self, key: K, item: V::Item) -> Result<(), DurableError<(K, V::Item)>> {
        let core = self.core();
        if let Err(why) = core.may_sync() {
            return Err(DurableError::Unavailable { why, rejected: (key, item) });
        }
        let inserted = core.insert_to_keep(core.intake.spot(&key), Owned(key), item);
        let back = |(Owned(key), item)| (key, item);
        inserted.map_err(|refused| DurableError::Refused(core.refuse(refused, back)))?;
        core.sync().map_err(DurableError::NotDurable)
    }

    /// Returns when everything that was accepted before the call is on disk, and so is what became of it: what was
    /// [removed](Self::remove) does not come back.
    ///
    /// A commit begins at once, without waiting for the [window](crate::journal::Journal::window); all that wait at the same
    /// time share it. Costs O(partitions), a row for each key that has changed since the last commit, and a sync of the
    /// disk.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// use write_behind::journal::Journal;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("events.journal");
    ///
    /// let events = Buffer::builder().journal(Journal::at(path)).start(store)?;
    /// events.insert_many((0..1_000).map(|event| (format!("user {}", event % 10), event)))?;
    /// events.sync()?;
    /// println!("a thousand events are on disk"); // acknowledge the message that they came in
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SyncError::Failed`] if the journal cannot be written, [`SyncError::TimedOut`] after
    /// [`Journal::patience`](crate::journal::Journal::patience), and others where nothing was done.
    pub fn sync(&self) -> Result<(), SyncError> {
        self.core().may_sync()?;
        self.core().sync()
    }

    /// What was found in the journal at the start. `None` without a journal. [`Recovered`] has an example.
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
    /// The insert itself is the one that does not await: where a waiting overflow policy would wait, it behaves as
    /// [`insert`](Self::insert) does in a task. [`wait_for_room_async`](Self::wait_for_room_async) before it avoids that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::journal::Journal;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError};
    /// # struct Log;
    /// # impl AsyncDataBuffer<String, Vec<String>> for Log {
    /// #     async fn handle_flush(&self, _: &String, _: &Vec<String>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("events.journal");
    ///
    /// let events = Buffer::builder().journal(Journal::at(path)).start_async(Log)?;
    /// events.insert_durable_async("ada".to_owned(), "paid".to_owned()).await?;
    /// events.shutdown_async(Duration::from_secs(10)).await?;
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// **The item is in the buffer from the first poll on**, unless there was no room and the overflow policy waits for it.
    /// Dropped after that, the call leaves it there, to be written as any other: inserting it again counts it twice.
    ///
    /// # Errors
    ///
    /// As [`insert_durable`](Self::insert_durable).
    pub async fn insert_durable_async(
        &self,
        key: K,
        item: V::Item,
    ) -> Result<(), DurableError<(K, V::Item)>> {
        let core = self.core();
        if let Err(why) = core.may_sync_async() {
            return Err(DurableError::Unavailable { why, rejected: (key, item) });
        }
        let inserted = core.insert_to_keep_async(core.intake.spot(&key), Owned(key), item).await;
        let back = |(Owned(key), item)| (key, item);
        inserted.map_err(|refused| DurableError::Refused(core.refuse(refused, back)))?;
        core.sync_async().await.map_err(DurableError::NotDurable)
    }

    /// As [`sync`](Self::sync), for a task.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::journal::Journal;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let views = Buffer::builder().journal(Journal::at(path)).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.sync_async().await?;
    /// views.shutdown_async(Duration::from_secs(10)).await?;
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is over, it waits no more. The commit that it asked for goes on.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub async fn sync_async(&self) -> Result<(), SyncError> {
        self.core().may_sync_async()?;
        self.core().sync_async().await
    }
}

/// # With a journal (feature `journal`)
impl<K: Key, T: Addend, S: BuildHasher> Buffer<K, Sum<T>, S> {
    /// As [`add`](Self::add), and returns when the amount is on disk: [`insert_durable`](Self::insert_durable) for sums, by
    /// a borrowed key.
    ///
    /// ```
    /// use write_behind::journal::Journal;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let views = Buffer::builder().journal(Journal::at(path)).start(store)?;
    /// views.add_durable("/home", 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`insert_durable`](Self::insert_durable); the amount is inside.
    pub fn add_durable<Q: ?Sized + ToKey<K>>(&self, key: &Q, amount: T) -> Result<(), DurableError<T>> {
        let core = self.core();
        if let Err(why) = core.may_sync() {
            return Err(DurableError::Unavailable { why, rejected: amount });
        }
        let inserted = core.insert_to_keep(core.intake.spot(key), key, amount);
        let back = |(_, amount)| amount;
        inserted.map_err(|refused| DurableError::Refused(core.refuse(refused, back)))?;
        core.sync().map_err(DurableError::NotDurable)
    }

    /// As [`add_durable`](Self::add_durable), for a task.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::journal::Journal;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let views = Buffer::builder().journal(Journal::at(path)).start_async(Totals)?;
    /// views.add_durable_async("/home", 1).await?;
    /// views.shutdown_async(Duration::from_secs(10)).await?;
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`insert_durable_async`](Self::insert_durable_async): **the amount may be in the buffer from the first poll on.**
    ///
    /// # Errors
    ///
    /// As [`add_durable`](Self::add_durable).
    #[cfg(feature = "tokio")]
    pub async fn add_durable_async<Q: ?Sized + ToKey<K>>(
        &self,
        key: &Q,
        amount: T,
    ) -> Result<(), DurableError<T>> {
        let core = self.core();
        if let Err(why) = core.may_sync_async() {
            return Err(DurableError::Unavailable { why, rejected: amount });
        }
        let inserted = core.insert_to_keep_async(core.intake.spot(key), key, amount).await;
        let back = |(_, amount)| amount;
        inserted.map_err(|refused| DurableError::Refused(core.refuse(refused, back)))?;
        core.sync_async().await.map_err(DurableError::NotDurable)
    }
}
