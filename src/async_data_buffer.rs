//! The trait that users implement for async storage.

use std::error::Error;
use std::future::Future;

use crate::batch::FlushBatch;
use crate::data_buffer::{FailedFlush, Verdict};
use crate::failure::{FlushError, flush_each_async};

/// A sink whose storage is reached by `async` calls: [`DataBuffer`](crate::DataBuffer) with async
/// callbacks, started with [`Builder::start_async`](crate::Builder::start_async). Feature `tokio`.
///
/// Write plain `async fn`s. Their futures must be `Send`. They run as tasks on the runtime, at most
/// [`Builder::flush_threads`](crate::Builder::flush_threads) at once, and everything that
/// [`DataBuffer`](crate::DataBuffer) says of order, retries, panics and re-entrancy holds for them.
/// What is different:
///
/// - A callback that takes longer than [`Builder::flush_timeout`](crate::Builder::flush_timeout) is
///   cancelled: its future is dropped at the `.await` where it stands. Whether it was applied is then
///   not known, so the batch is sent again with the same id and content. A callback that never
///   awaits cannot be cancelled.
/// - At shutdown's deadline a callback that is still at work is cancelled too, and so it is when its
///   runtime shuts down. What it worked on is handed back by `shutdown`.
/// - A callback that blocks holds up a thread of the runtime. For a blocking client implement
///   [`DataBuffer`](crate::DataBuffer) instead, or hand the work to `tokio::task::spawn_blocking`.
///
/// ```
/// use write_behind::{AsyncDataBuffer, Buffer, Sum};
///
/// struct Totals;
///
/// impl AsyncDataBuffer<String, Sum<i64>> for Totals {
///     type Error = std::io::Error;
///
///     async fn handle_flush(&self, page: &String, views: &Sum<i64>) -> Result<(), Self::Error> {
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
    /// What can go wrong: any error type, `String` or `Box<dyn Error + Send + Sync>`.
    type Error: Into<Box<dyn Error + Send + Sync>> + Send;

    /// Writes one key's aggregate. `Ok` means that it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// As for [`DataBuffer::handle_flush`](crate::DataBuffer::handle_flush).
    fn handle_flush(&self, key: &K, data: &V) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes a batch. Provided: calls [`handle_flush`](Self::handle_flush) key by key, one after the
    /// other, so that a failing key fails alone. If the flush timeout comes in the middle of that, all
    /// keys are sent again, those that were done included; set
    /// [`max_batch_keys`](crate::Builder::max_batch_keys) to 1, or override this, if that must not be.
    ///
    /// # Errors
    ///
    /// As for [`DataBuffer::handle_flush_batch`](crate::DataBuffer::handle_flush_batch).
    fn handle_flush_batch(
        &self,
        batch: &FlushBatch<K, V>,
    ) -> impl Future<Output = Result<(), FlushError<Self::Error>>> + Send {
        flush_each_async(batch, |key, data| self.handle_flush(key, data))
    }

    /// Takes over a key whose last attempt failed. Provided: drops it. As
    /// [`DataBuffer::handle_error`](crate::DataBuffer::handle_error); if it is cancelled, because its
    /// runtime shuts down, the data is kept as undelivered unless it was taken out. It is not subject
    /// to the flush timeout.
    fn handle_error(&self, failed: FailedFlush<K, V>) -> impl Future<Output = Verdict<V>> + Send {
        async move {
            drop(failed);
            Verdict::Done
        }
    }

    /// Takes an item that was turned away because memory is full. Not async: it runs inside
    /// `insert`, on the inserting thread. As
    /// [`DataBuffer::handle_shed`](crate::DataBuffer::handle_shed).
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }
}
