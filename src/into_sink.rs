//! What can be given to `start`.

use std::marker::PhantomData;

use crate::aggregate::Aggregate;
#[cfg(feature = "tokio")]
use crate::async_data_buffer::{AsyncBatchDataBuffer, AsyncDataBuffer};
use crate::data_buffer::{BatchDataBuffer, DataBuffer};
#[cfg(feature = "tokio")]
use crate::driver::user::sink::{AsyncBatches, AsyncKeys};
use crate::driver::user::sink::{Batches, Closure, Keys, Sink};
use crate::failure::FlushError;
use crate::key::Key;

/// What [`Builder::start`](crate::Builder::start) takes: a [`DataBuffer`], a [`BatchDataBuffer`] or a closure
/// `Fn(&K, &V) -> Result<(), E>`, whose types have to be written out.
///
/// `Kind` tells them apart and is always inferred. Implement one of those two traits and not this one,
/// which cannot be implemented elsewhere.
///
/// ```
/// use write_behind::{Buffer, Sum};
///
/// let views = Buffer::builder().start(|page: &String, views: &Sum<i64>| {
///     println!("{page}: {}", views.0);
///     Ok::<(), std::io::Error>(())
/// })?;
/// views.add("/home", 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "not a sink for the keys and aggregates of this buffer",
    note = "implement `DataBuffer<K, V>` to write key by key, or `BatchDataBuffer<K, V>` to write batches",
    note = "an async sink (`AsyncDataBuffer`, `AsyncBatchDataBuffer`) is started with `start_async`",
    note = "a closure takes `|key: &K, data: &V|`, types written out, and returns a `Result<(), E>`",
    note = "keys are `Hash + Eq + Clone + Send + Sync + 'static`, aggregates implement `Aggregate`"
)]
pub trait IntoSink<K, V, Kind> {
    #[doc(hidden)]
    fn erase(self) -> Erased<K, V>;
}

/// What [`Builder::start_async`](crate::Builder::start_async) takes: an
/// [`AsyncDataBuffer`] or an [`AsyncBatchDataBuffer`]. `Kind` tells them apart and is always inferred.
/// Implement one of those. Feature `tokio`.
///
/// ```
/// use write_behind::{Buffer, BuildError, IntoAsyncSink, Sum, SummingBuffer};
///
/// /// Starts whichever sink the configuration asks for.
/// fn start<Kind>(sink: impl IntoAsyncSink<String, Sum<i64>, Kind>) -> Result<SummingBuffer<String, i64>, BuildError> {
///     Buffer::builder().name("page-views").start_async(sink)
/// }
/// ```
#[cfg(feature = "tokio")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async sink",
    label = "not an async sink for the keys and aggregates of this buffer",
    note = "implement `AsyncDataBuffer<K, V>` to write key by key, or `AsyncBatchDataBuffer<K, V>` to write batches",
    note = "a blocking sink (`DataBuffer`, `BatchDataBuffer`) is started with `start`"
)]
pub trait IntoAsyncSink<K, V, Kind> {
    #[doc(hidden)]
    fn erase(self) -> Erased<K, V>;
}

/// A sink without its type. Nobody else can make one.
#[doc(hidden)]
#[allow(missing_debug_implementations, unreachable_pub, reason = "only in hidden signatures")]
pub struct Erased<K, V>(pub(crate) Box<dyn Sink<K, V>>);

/// The kind of a sink that writes key by key.
#[derive(Debug)]
pub enum OfKeys {}

/// The kind of a sink that writes batches.
#[derive(Debug)]
pub enum OfBatches {}

/// The kind of a closure that writes a key.
#[derive(Debug)]
pub struct OfClosure<E>(PhantomData<E>);

impl<K: Key, V: Aggregate, D: DataBuffer<K, V>> IntoSink<K, V, OfKeys> for D {
    fn erase(self) -> Erased<K, V> {
        Erased(Box::new(Keys(self)))
    }
}

impl<K: Key, V: Aggregate, D: BatchDataBuffer<K, V>> IntoSink<K, V, OfBatches> for D {
    fn erase(self) -> Erased<K, V> {
        Erased(Box::new(Batches(self)))
    }
}

impl<K: Key, V: Aggregate, E, F> IntoSink<K, V, OfClosure<E>> for F
where
    E: Into<FlushError> + 'static,
    F: Fn(&K, &V) -> Result<(), E> + Send + Sync + 'static,
{
    fn erase(self) -> Erased<K, V> {
        Erased(Box::new(Keys(Closure(self))))
    }
}

#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, D: AsyncDataBuffer<K, V>> IntoAsyncSink<K, V, OfKeys> for D {
    fn erase(self) -> Erased<K, V> {
        Erased(Box::new(AsyncKeys(self)))
    }
}

#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, D: AsyncBatchDataBuffer<K, V>> IntoAsyncSink<K, V, OfBatches> for D {
    fn erase(self) -> Erased<K, V> {
        Erased(Box::new(AsyncBatches(self)))
    }
}
