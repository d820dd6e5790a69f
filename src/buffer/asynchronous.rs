//! The async counterparts of the calls that wait. Feature `tokio`.

use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::time::Duration;

use equivalent::Equivalent;

use super::{Buffer, ShutdownReport};
use crate::aggregate::Aggregate;
use crate::batch::FlushReason;
use crate::driver::user::context::{self, NoWait};
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::shard::Owned;
use crate::error::{FlushWaitError, InsertError, InsertErrorKind, ShutdownError};
use crate::key::Key;

/// # Async counterparts (feature `tokio`)
///
/// For any buffer, whichever sink runs behind it. They are to be awaited in a tokio runtime that has
/// a timer, not necessarily the sink's; different tasks may use different runtimes. All of them do
/// nothing before they are first polled and may be dropped at any time.
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// As [`insert`](Self::insert), but if the buffer is full this waits for room, for at most
    /// `timeout`, whatever the overflow policy. With
    /// [`Overflow::FlushOldest`](crate::Overflow::FlushOldest) it also makes some.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let views = Buffer::builder().max_keys(1).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// // Waits until "/home" is flushed, after 5 s; `add` would have refused.
    /// views.insert_async("/news".to_owned(), 1, Duration::from_secs(10)).await?;
    /// assert_eq!(views.stats().flushed, 1);
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The item is in the buffer if, and only if, this has returned `Ok`. Dropped before that, it
    /// drops key and item, as any future does with what it was given, and waits no more. To keep them
    /// even then, await [`wait_for_room_async`](Self::wait_for_room_async) in the place that can be cancelled and
    /// [`insert`](Self::insert) after it.
    ///
    /// # Errors
    ///
    /// [`InsertError`] with key and item inside: [`TimedOut`](InsertErrorKind::TimedOut),
    /// [`Closed`](InsertErrorKind::Closed) as soon as the buffer is shut down, or
    /// [`TooHeavy`](InsertErrorKind::TooHeavy). Inside a callback of the same buffer it does not wait:
    /// [`Full`](InsertErrorKind::Full).
    pub async fn insert_async(
        &self,
        key: K,
        item: V::Item,
        timeout: Duration,
    ) -> Result<(), InsertError<(K, V::Item)>> {
        let core = self.core();
        let spot = core.intake.spot(&key);
        let mut inserted = match core.may_insert() {
            Ok(()) => core.insert_if_roomy(spot, Owned(key), item),
            Err(barred) => Err(InsertError::new(barred.into(), (Owned(key), item))),
        };
        if let Err(InsertError { kind: InsertErrorKind::Full, rejected: (key, item) }) = inserted {
            inserted = if context::in_callback_of(core.instance) {
                Err(InsertError::new(NoWait::InCallback.into(), (key, item)))
            } else {
                core.insert_when_roomy_async(spot, key, item, timeout).await
            };
        }
        inserted.map_err(|refused| core.refuse(refused, |(Owned(key), item)| (key, item)))
    }

    /// Waits until the buffer has room for one more key that weighs 1, for at most `timeout`. Others
    /// may take that room before you do: insert, and come back here if that says
    /// [`Full`](InsertErrorKind::Full).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, InsertErrorKind, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let views = Buffer::builder().max_keys(1).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// while let Err(refused) = views.add("/news", 1) {
    ///     assert_eq!(refused.kind, InsertErrorKind::Full);
    ///     views.wait_for_room_async(Duration::from_secs(10)).await?; // may be cancelled: nothing is in its hands
    /// }
    /// assert_eq!(views.stats().accepted, 2);
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is over, it waits no more, and that is all.
    ///
    /// # Errors
    ///
    /// [`InsertErrorKind::TimedOut`], [`InsertErrorKind::Closed`] as soon as the buffer is shut down,
    /// and inside a callback of the same buffer [`InsertErrorKind::Full`] instead of waiting.
    pub async fn wait_for_room_async(&self, timeout: Duration) -> Result<(), InsertErrorKind> {
        self.core().may_call()?;
        self.core().await_room(timeout).await
    }

    /// As [`flush_and_wait`](Self::flush_and_wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let views = Buffer::builder().interval(Duration::from_secs(3_600)).start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.flush_and_wait_async("/home", Duration::from_secs(10)).await?; // not an hour later
    /// assert_eq!(views.stats().flushed, 1);
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is over, it leaves no waiter behind. The flush that it asked for goes on.
    ///
    /// # Errors
    ///
    /// As [`flush_and_wait`](Self::flush_and_wait). Inside an async callback of the same buffer:
    /// [`FlushWaitError::WouldDeadlock`].
    pub async fn flush_and_wait_async<Q>(&self, key: &Q, timeout: Duration) -> Result<(), FlushWaitError>
    where
        Q: ?Sized + Hash + Equivalent<K>,
    {
        let core = self.core();
        core.may_call()?;
        let partition = core.intake.spot(key).partition;
        self.wait_async(timeout, partition..partition + 1, |waiter| core.request(key, Some(waiter))).await
    }

    /// As [`flush_all_and_wait`](Self::flush_all_and_wait). Asking takes O(keys), without waiting.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let views = Buffer::builder().start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush_all_and_wait_async(Duration::from_secs(10)).await?;
    /// assert_eq!(views.stats().flushed, 2);
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`flush_and_wait_async`](Self::flush_and_wait_async).
    ///
    /// # Errors
    ///
    /// As [`flush_and_wait_async`](Self::flush_and_wait_async), with the first of the failures.
    pub async fn flush_all_and_wait_async(&self, timeout: Duration) -> Result<(), FlushWaitError> {
        let core = self.core();
        core.may_call()?;
        let request = |waiter: &WaiterRef| core.request_all(FlushReason::Requested, Some(waiter));
        self.wait_async(timeout, 0..core.intake.partitions(), request).await
    }

    async fn wait_async(
        &self,
        timeout: Duration,
        partitions: Range<usize>,
        request: impl FnOnce(&WaiterRef),
    ) -> Result<(), FlushWaitError> {
        let core = self.core();
        if context::in_callback_of(core.instance) {
            return Err(NoWait::InCallback.into());
        }
        let deadline = core.deadline(timeout);
        let result = core.begin_waiting(partitions, request).wait_async(deadline).await;
        result.unwrap_or(Err(FlushWaitError::TimedOut(timeout)))
    }

    /// As [`shutdown`](Self::shutdown), with a journal too: its last commit is then made on the calling thread, at the
    /// deadline at the latest. Closing takes O(keys), without waiting.
    ///
    /// What was not delivered is in the error, and **lost if that is dropped**.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
    /// # fn bury(_: &str, _: i64) {}
    /// # struct Totals;
    /// # impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    /// #     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let views = Buffer::builder().start_async(Totals)?;
    /// views.add("/home", 1)?;
    /// if let Err(error) = views.shutdown_async(Duration::from_secs(10)).await {
    ///     for left in error.into_undelivered() {
    ///         bury(left.key(), left.data().0); // to a file, say
    ///     }
    /// }
    /// assert_eq!(views.stats().flushed, 1);
    ///
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is over, it leaves the buffer closed and draining, to end by its deadline.
    /// Nothing is lost: whatever could not be delivered is handed to the next caller of this or of
    /// `shutdown`, or is in the journal.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_async(&self, timeout: Duration) -> Result<ShutdownReport, ShutdownError<K, V>> {
        let core = self.core();
        core.may_call()?;
        let deadline = core.deadline(timeout);
        core.begin_shutdown(deadline);
        if context::in_callback_of(core.instance) {
            return Err(NoWait::InCallback.into());
        }
        core.await_closed_async(deadline).await;
        self.hand_back()
    }
}
