//! The user's sink, behind a type that does not name it.

use std::future::ready;

use super::future::BoxFuture;
use crate::aggregate::Aggregate;
#[cfg(feature = "tokio")]
use crate::async_data_buffer::{AsyncBatchDataBuffer, AsyncDataBuffer};
use crate::batch::{FlushBatch, FlushContext};
use crate::data_buffer::{BatchDataBuffer, DataBuffer};
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::failure::FlushError;
use crate::key::Key;

/// A sink of any kind, without its type. A blocking one does its work when it is called and
/// returns a future that is ready.
pub(crate) trait Sink<K, V>: Send + Sync {
    /// Whether it writes batches. If not, it is handed batches of one key.
    fn takes_batches(&self) -> bool;
    fn flush<'a>(&'a self, batch: &'a FlushBatch<K, V>) -> BoxFuture<'a, Result<(), FlushError>>;
    fn handle_error(&self, letter: DeadLetter<K, V>) -> BoxFuture<'_, Verdict<K, V>>;
    fn handle_shed(&self, key: K, data: V);
    fn handle_retired<'a>(&'a self, retirement: &'a Retirement) -> BoxFuture<'a, ()>;
}

/// A [`DataBuffer`].
pub(crate) struct Keys<D>(pub(crate) D);
/// A [`BatchDataBuffer`].
pub(crate) struct Batches<D>(pub(crate) D);
/// An [`AsyncDataBuffer`].
#[cfg(feature = "tokio")]
pub(crate) struct AsyncKeys<D>(pub(crate) D);
/// An [`AsyncBatchDataBuffer`].
#[cfg(feature = "tokio")]
pub(crate) struct AsyncBatches<D>(pub(crate) D);

/// How a sink of each kind is called.
macro_rules! sink {
    ($kind:ident of $bound:ident, batches: $batches:expr, |$sink:ident, $batch:ident| $flush:expr, |$answer:ident| $future:expr) => {
        impl<K: Key, V: Aggregate, D: $bound<K, V>> Sink<K, V> for $kind<D> {
            fn takes_batches(&self) -> bool {
                $batches
            }

            fn flush<'a>(&'a self, batch: &'a FlushBatch<K, V>) -> BoxFuture<'a, Result<(), FlushError>> {
                let ($sink, $batch) = (&self.0, batch);
                let $answer = $flush;
                Box::pin($future)
            }

            fn handle_error(&self, letter: DeadLetter<K, V>) -> BoxFuture<'_, Verdict<K, V>> {
                let $answer = self.0.handle_error(letter);
                Box::pin($future)
            }

            fn handle_shed(&self, key: K, data: V) {
                self.0.handle_shed(key, data);
            }

            fn handle_retired<'a>(&'a self, retirement: &'a Retirement) -> BoxFuture<'a, ()> {
                let $answer = self.0.handle_retired(retirement);
                Box::pin($future)
            }
        }
    };
}

sink!(Keys of DataBuffer, batches: false, |sink, batch| {
    let entry = &batch.entries()[0];
    sink.handle_flush(entry.key(), entry.data(), &FlushContext::new(batch))
}, |answer| ready(answer));

sink!(Batches of BatchDataBuffer, batches: true, |sink, batch| sink.handle_flush_batch(batch), |answer| ready(answer));

#[cfg(feature = "tokio")]
sink!(AsyncKeys of AsyncDataBuffer, batches: false, |sink, batch| async move {
    let entry = &batch.entries()[0];
    sink.handle_flush(entry.key(), entry.data(), &FlushContext::new(batch)).await
}, |answer| answer);

#[cfg(feature = "tokio")]
sink!(AsyncBatches of AsyncBatchDataBuffer, batches: true, |sink, batch| sink.handle_flush_batch(batch), |answer| answer);

/// A closure as a [`DataBuffer`].
pub(crate) struct Closure<F>(pub(crate) F);

impl<K: Key, V: Aggregate, E, F> DataBuffer<K, V> for Closure<F>
where
    E: Into<FlushError>,
    F: Fn(&K, &V) -> Result<(), E> + Send + Sync + 'static,
{
    fn handle_flush(&self, key: &K, data: &V, _: &FlushContext) -> Result<(), FlushError> {
        (self.0)(key, data).map_err(Into::into)
    }
}
