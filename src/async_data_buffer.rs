//! The traits that users implement for async storage.

use std::future::Future;
use std::sync::Arc;

use crate::batch::{FlushBatch, FlushContext};
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::failure::FlushError;

/// A sink whose storage is reached by `async` calls: [`DataBuffer`](crate::DataBuffer) with async
/// callbacks, started with [`Builder::start_async`](crate::Builder::start_async). Feature `tokio`.
///
/// Write plain `async fn`s. Their futures must be `Send`. They run as tasks on the runtime, at most
/// [`Builder::flush_concurrency`](crate::Builder::flush_concurrency) at once, and everything that
/// [`DataBuffer`](crate::DataBuffer) says of order, retries, panics and re-entrancy holds for them.
/// What is different:
///
/// - A callback that takes longer than [`Builder::flush_timeout`](crate::Builder::flush_timeout) is
///   cancelled: its future is dropped at the `.await` where it stands. Whether it was applied is then
///   not known, so the same data is sent again under the same id. Each key has that time for itself. A
///   callback that never awaits cannot be cancelled.
/// - At shutdown's deadline a callback that is still at work is cancelled too, and so it is when its
///   runtime shuts down. What it worked on is handed back by `shutdown`.
/// - A callback that blocks holds up a thread of the runtime. For a blocking client implement
///   [`DataBuffer`](crate::DataBuffer) instead, or hand the work to `tokio::task::spawn_blocking`.
///
/// ```
/// use write_behind::{AsyncDataBuffer, Buffer, FlushContext, FlushError, Sum};
///
/// struct Totals;
///
/// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
///     async fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
///         tokio::task::yield_now().await; // the database call
///         println!("{page}: {}", views.0);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = Buffer::builder().start_async(Totals)?;
/// views.add("/home", 1)?;
/// views.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
pub trait AsyncDataBuffer<K: Send + Sync, V: Send + Sync>: Send + Sync + 'static {
    /// Writes one key's aggregate. `Ok` means that it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// As for [`DataBuffer::handle_flush`](crate::DataBuffer::handle_flush).
    fn handle_flush(
        &self,
        key: &K,
        data: &V,
        context: &FlushContext,
    ) -> impl Future<Output = Result<(), FlushError>> + Send;

    /// Decides about a key whose attempts are spent. Provided: keeps it. As
    /// [`DataBuffer::handle_error`](crate::DataBuffer::handle_error); if it is cancelled, because its
    /// runtime shuts down, the data is kept unless it was taken out. It is not subject to the flush
    /// timeout.
    ///
    /// ```
    /// use write_behind::{AsyncDataBuffer, DeadLetter, FlushContext, FlushError, Sum, Verdict};
    /// # async fn publish(_: &str, _: i64) -> std::io::Result<()> { Ok(()) }
    ///
    /// struct Totals;
    ///
    /// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         Err("the database is away".into())
    ///     }
    ///
    ///     async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
    ///         match publish(letter.key(), letter.data().0).await {
    ///             Ok(()) => Verdict::Forget, // others have it now
    ///             Err(_) => Verdict::Keep(letter),
    ///         }
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// #     let letter = DeadLetter::builder("ada".to_owned(), Sum(1), write_behind::FailureCause::Panicked("".into()));
    /// #     assert!(matches!(Totals.handle_error(letter.build()).await, Verdict::Forget));
    /// # }
    /// ```
    fn handle_error(&self, letter: DeadLetter<K, V>) -> impl Future<Output = Verdict<K, V>> + Send {
        async move { Verdict::Keep(letter) }
    }

    /// **Drops an item**, unless you write another one, that was turned away because memory is full. As
    /// [`DataBuffer::handle_shed`](crate::DataBuffer::handle_shed). Not async: it runs inside `insert`, on the
    /// inserting thread.
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }

    /// The buffer is over. As [`DataBuffer::handle_retired`](crate::DataBuffer::handle_retired). Shutdown
    /// waits for it until its deadline; it goes on after that. Not called if the runtime ends first, nor with a
    /// journal.
    fn handle_retired(&self, retirement: &Retirement) -> impl Future<Output = ()> + Send {
        let _ = retirement;
        async {}
    }
}

/// A sink that writes whole batches by `async` calls: [`BatchDataBuffer`](crate::BatchDataBuffer) with
/// async callbacks. What [`AsyncDataBuffer`] says of cancelling and blocking holds for it. Feature
/// `tokio`.
///
/// ```
/// use write_behind::{AsyncBatchDataBuffer, FlushBatch, FlushError, Sum};
///
/// struct Totals;
///
/// impl AsyncBatchDataBuffer<String, Sum<i64>> for Totals {
///     async fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
///         tokio::task::yield_now().await; // one statement for all of them
///         println!("{}: {} pages", batch.id(), batch.len());
///         Ok(())
///     }
/// }
/// ```
pub trait AsyncBatchDataBuffer<K: Send + Sync, V: Send + Sync>: Send + Sync + 'static {
    /// Writes a batch. `Ok` means that all of it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// As for [`BatchDataBuffer::handle_flush_batch`](crate::BatchDataBuffer::handle_flush_batch).
    fn handle_flush_batch(
        &self,
        batch: &FlushBatch<K, V>,
    ) -> impl Future<Output = Result<(), FlushError>> + Send;

    /// As [`AsyncDataBuffer::handle_error`]: called for each key.
    fn handle_error(&self, letter: DeadLetter<K, V>) -> impl Future<Output = Verdict<K, V>> + Send {
        async move { Verdict::Keep(letter) }
    }

    /// As [`AsyncDataBuffer::handle_shed`]: the provided one **drops the item**.
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }

    /// As [`AsyncDataBuffer::handle_retired`].
    fn handle_retired(&self, retirement: &Retirement) -> impl Future<Output = ()> + Send {
        let _ = retirement;
        async {}
    }
}

macro_rules! forward_callbacks {
    () => {
        async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
            D::handle_error(self, letter).await
        }

        fn handle_shed(&self, key: K, data: V) {
            D::handle_shed(self, key, data);
        }

        async fn handle_retired(&self, retirement: &Retirement) {
            D::handle_retired(self, retirement).await;
        }
    };
}

impl<K: Send + Sync, V: Send + Sync, D: AsyncDataBuffer<K, V>> AsyncDataBuffer<K, V> for Arc<D> {
    async fn handle_flush(&self, key: &K, data: &V, context: &FlushContext) -> Result<(), FlushError> {
        D::handle_flush(self, key, data, context).await
    }

    forward_callbacks!();
}

impl<K: Send + Sync, V: Send + Sync, D: AsyncBatchDataBuffer<K, V>> AsyncBatchDataBuffer<K, V> for Arc<D> {
    async fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError> {
        D::handle_flush_batch(self, batch).await
    }

    forward_callbacks!();
}
