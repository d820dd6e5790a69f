//! The user's sink and observers, behind types that do not name them, with panics contained.

use std::error::Error;
use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::context;
use super::core::Key;
use super::future::BoxFuture;
use super::sync::{AtomicU64, Ordering};
use crate::aggregate::Aggregate;
#[cfg(feature = "tokio")]
use crate::async_data_buffer::AsyncDataBuffer;
use crate::batch::FlushBatch;
use crate::data_buffer::{DataBuffer, FailedFlush, Verdict};
use crate::failure::{FlushError, FlushFailure, KeyCause, Outcome, Scope, contained};
use crate::interval::IntervalPolicy;
use crate::observer::Observer;

/// How an attempt ended, without the sink's error type.
#[derive(Debug)]
pub(crate) enum Failed {
    Batch(Outcome, FlushFailure),
    /// Never empty.
    Keys(Vec<(usize, Outcome, FlushFailure)>),
}

impl Failed {
    /// The failure, or the first of them.
    pub(crate) fn failure(&self) -> &FlushFailure {
        match self {
            Failed::Batch(_, failure) => failure,
            Failed::Keys(failures) => &failures[0].2,
        }
    }
}

/// A sink of either kind, without its type. A blocking one does its work when it is called and
/// returns a future that is ready.
pub(crate) trait Sink<K, V>: Send + Sync {
    fn flush<'a>(&'a self, batch: &'a FlushBatch<K, V>) -> BoxFuture<'a, Result<(), Failed>>;
    fn handle_error(&self, failed: FailedFlush<K, V>) -> BoxFuture<'_, Verdict<V>>;
    fn handle_shed(&self, key: K, data: V);
}

/// A [`DataBuffer`].
pub(crate) struct Blocking<D>(pub(crate) D);

impl<K: Key, V: Aggregate, D: DataBuffer<K, V>> Sink<K, V> for Blocking<D> {
    fn flush<'a>(&'a self, batch: &'a FlushBatch<K, V>) -> BoxFuture<'a, Result<(), Failed>> {
        let result = self.0.handle_flush_batch(batch).or_else(|error| erase(error, batch.len()));
        Box::pin(ready(result))
    }

    fn handle_error(&self, failed: FailedFlush<K, V>) -> BoxFuture<'_, Verdict<V>> {
        Box::pin(ready(self.0.handle_error(failed)))
    }

    fn handle_shed(&self, key: K, data: V) {
        self.0.handle_shed(key, data);
    }
}

/// An [`AsyncDataBuffer`].
#[cfg(feature = "tokio")]
pub(crate) struct Asynchronous<D>(pub(crate) D);

#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, D: AsyncDataBuffer<K, V>> Sink<K, V> for Asynchronous<D> {
    fn flush<'a>(&'a self, batch: &'a FlushBatch<K, V>) -> BoxFuture<'a, Result<(), Failed>> {
        let flush = self.0.handle_flush_batch(batch);
        Box::pin(async move { flush.await.or_else(|error| erase(error, batch.len())) })
    }

    fn handle_error(&self, failed: FailedFlush<K, V>) -> BoxFuture<'_, Verdict<V>> {
        Box::pin(self.0.handle_error(failed))
    }

    fn handle_shed(&self, key: K, data: V) {
        self.0.handle_shed(key, data);
    }
}

fn erase<E: Into<Box<dyn Error + Send + Sync>>>(error: FlushError<E>, len: usize) -> Result<(), Failed> {
    let mut failures = match error.scope {
        Scope::Batch(outcome, error) => return Err(Failed::Batch(outcome, FlushFailure::from_error(error))),
        Scope::Keys(failures) => failures,
    };
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort_by_key(|failure| failure.index);
    let twice = failures.windows(2).find(|pair| pair[0].index == pair[1].index).map(|pair| pair[0].index);
    let outside = failures.last().map(|failure| failure.index).filter(|&index| index >= len);
    let misreported = outside
        .map(|index| format!("it names entry {index} of a batch of {len}"))
        .or_else(|| twice.map(|index| format!("it names entry {index} twice")));
    if let Some(what) = misreported {
        return Err(Failed::Batch(Outcome::Unknown, FlushFailure::Misreported(what.into())));
    }
    let failures = failures.into_iter().map(|failure| {
        let cause = match failure.cause {
            KeyCause::Error(error) => FlushFailure::from_error(error),
            KeyCause::Panicked(panic) => panic,
        };
        (failure.index, failure.outcome, cause)
    });
    Err(Failed::Keys(failures.collect()))
}

/// All user code that a buffer calls.
pub(crate) struct Callbacks<K, V> {
    instance: u64,
    sink: Box<dyn Sink<K, V>>,
    observers: Vec<Arc<dyn Observer>>,
    interval: Option<Box<dyn IntervalPolicy<K, V>>>,
    /// Relaxed: a statistic.
    panics: AtomicU64,
}

impl<K, V> std::fmt::Debug for Callbacks<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static> Callbacks<K, V> {
    pub(crate) fn new(
        instance: u64,
        sink: Box<dyn Sink<K, V>>,
        observers: Vec<Arc<dyn Observer>>,
        interval: Option<Box<dyn IntervalPolicy<K, V>>>,
    ) -> Self {
        Callbacks { instance, sink, observers, interval, panics: AtomicU64::new(0) }
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) async fn flush(&self, batch: &FlushBatch<K, V>) -> Result<(), Failed> {
        let result = self.tend(|| self.sink.flush(batch)).await;
        let result = result.unwrap_or_else(|panic| Err(Failed::Batch(Outcome::Unknown, panic)));
        if let Err(Failed::Keys(failures)) = &result {
            let panics =
                failures.iter().filter(|(.., cause)| matches!(cause, FlushFailure::Panicked(_))).count();
            self.panics.fetch_add(panics as u64, Ordering::Relaxed);
        }
        result
    }

    /// `None` if it panicked.
    pub(crate) async fn handle_error(&self, failed: FailedFlush<K, V>) -> Option<Verdict<V>> {
        self.tend(|| self.sink.handle_error(failed)).await.ok()
    }

    /// What the policy says, if there is one that does not panic.
    pub(crate) fn interval(&self, key: &K, data: &V, now: Duration) -> Option<Duration> {
        let policy = self.interval.as_ref()?;
        self.call(|| policy.interval(key, data, now)).ok()
    }

    pub(crate) fn handle_shed(&self, key: K, data: V) {
        let _ = self.call(|| self.sink.handle_shed(key, data));
    }

    pub(crate) fn observe(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &self.observers {
            let _ = self.call(|| tell(observer.as_ref()));
        }
    }

    /// Runs user code; a panic is counted and becomes a failure.
    pub(crate) fn call<T>(&self, callback: impl FnOnce() -> T) -> Result<T, FlushFailure> {
        let _inside = context::enter(self.instance);
        contained(callback).inspect_err(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// As [`call`](Self::call), for a future.
    pub(crate) async fn contain<T>(&self, future: impl Future<Output = T>) -> Result<T, FlushFailure> {
        let mut future = pin!(future);
        poll_fn(|context| match self.call(|| future.as_mut().poll(context)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        })
        .await
    }

    /// As [`contain`](Self::contain), for a future of the user, whose making and whose end are the
    /// user's code too.
    async fn tend<'a, T>(&'a self, make: impl FnOnce() -> BoxFuture<'a, T>) -> Result<T, FlushFailure> {
        let future = Some(self.call(make)?);
        let mut tended = Tended { callbacks: self, future };
        self.contain(poll_fn(|context| match &mut tended.future {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Pending,
        }))
        .await
    }
}

/// Contains the drop of a future of the user, also when it is dropped half-way.
struct Tended<'a, K: 'static, V: 'static, T> {
    callbacks: &'a Callbacks<K, V>,
    future: Option<BoxFuture<'a, T>>,
}

impl<K: 'static, V: 'static, T> Drop for Tended<'_, K, V, T> {
    fn drop(&mut self) {
        let future = self.future.take();
        let _ = self.callbacks.call(|| drop(future));
    }
}
