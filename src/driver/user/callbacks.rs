//! The calls of user code, with panics contained.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::context;
use super::future::BoxFuture;
use super::sink::Sink;
use crate::batch::FlushBatch;
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::driver::sync::{AtomicU64, Mutex, Ordering};
use crate::failure::{Failure, FailureCause, FlushError, Scope, contained};
use crate::interval::IntervalPolicy;
use crate::observer::Observer;

/// What a sink has answered, if it makes sense for a batch of so many keys.
fn check(error: FlushError, len: usize) -> Scope {
    let mut failed = match error.scope {
        Scope::Entries(failed) => failed,
        whole @ Scope::Batch(_) => return whole,
    };
    failed.sort_by_key(|entry| entry.index);
    let twice = failed.windows(2).find(|pair| pair[0].index == pair[1].index).map(|pair| pair[0].index);
    let outside = failed.last().map(|entry| entry.index).filter(|&index| index as usize >= len);
    let misreported = outside
        .map(|_| "it names an entry of another batch".to_owned())
        .or_else(|| twice.map(|index| format!("it names entry {index} twice")));
    match misreported {
        Some(what) => Scope::Batch(Failure::unknown(FailureCause::Misreported(what.into()))),
        None => Scope::Entries(failed),
    }
}

/// Why an attempt fails for which there is no sink any more: only if its runtime has ended meanwhile.
fn gone() -> FailureCause {
    #[cfg(feature = "tokio")]
    let cause = FailureCause::Cancelled;
    #[cfg(not(feature = "tokio"))]
    let cause = FailureCause::Misreported("it is gone".into());
    cause
}

/// All user code that a buffer calls.
pub(crate) struct Callbacks<K, V> {
    instance: u64,
    takes_batches: bool,
    /// Taken out and dropped when the buffer is over.
    sink: Mutex<Option<Arc<dyn Sink<K, V>>>>,
    observers: Vec<Arc<dyn Observer>>,
    /// How often observers want to be told statistics.
    measure_every: Option<Duration>,
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
        let takes_batches = sink.takes_batches();
        let sink = Mutex::new(Some(Arc::from(sink)));
        let (measure_every, panics) = (None, AtomicU64::new(0));
        let mut callbacks =
            Callbacks { instance, takes_batches, sink, observers, measure_every, interval, panics };
        let wishes = callbacks.observers.iter();
        let wishes = wishes.filter_map(|observer| callbacks.call(|| observer.measure_every()).ok().flatten());
        callbacks.measure_every = wishes.min();
        callbacks
    }

    pub(crate) fn measure_every(&self) -> Option<Duration> {
        self.measure_every
    }

    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// `None` when the buffer is over.
    fn sink(&self) -> Option<Arc<dyn Sink<K, V>>> {
        self.sink.lock().clone()
    }

    pub(crate) async fn flush(&self, batch: &FlushBatch<K, V>) -> Result<(), Scope> {
        let Some(sink) = self.sink() else { return Err(Scope::Batch(Failure::unknown(gone()))) };
        match self.tend(|| sink.flush(batch)).await {
            Ok(answer) => answer.map_err(|error| check(error, batch.len())),
            Err(panic) => Err(Scope::Batch(Failure::unknown(panic))),
        }
    }

    /// `None` if it panicked.
    pub(crate) async fn handle_error(&self, letter: DeadLetter<K, V>) -> Option<Verdict<K, V>> {
        let sink = self.sink()?;
        self.tend(|| sink.handle_error(letter)).await.ok()
    }

    /// Tells the sink that the buffer is over.
    pub(crate) async fn handle_retired(&self, retirement: &Retirement) {
        if let Some(sink) = self.sink() {
            let _ = self.tend(|| sink.handle_retired(retirement)).await;
        }
    }

    /// Lets the sink go: it is dropped here, unless a callback is still at work.
    pub(crate) fn drop_sink(&self) {
        let sink = self.sink.lock().take();
        let _ = self.call(|| drop(sink));
    }

    /// What the policy says, if there is one that does not panic.
    pub(crate) fn interval(&self, key: &K, data: &V, now: Duration) -> Option<Duration> {
        let policy = self.interval.as_ref()?;
        self.call(|| policy.interval(key, data, now)).ok()
    }

    pub(crate) fn handle_shed(&self, key: K, data: V) {
        if let Some(sink) = self.sink() {
            let _ = self.call(|| sink.handle_shed(key, data));
        }
    }

    pub(crate) fn observe(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &self.observers {
            let _ = self.call(|| tell(observer.as_ref()));
        }
    }

    /// Runs user code; a panic is counted and becomes a failure.
    pub(crate) fn call<T>(&self, callback: impl FnOnce() -> T) -> Result<T, FailureCause> {
        let _inside = context::enter(self.instance);
        contained(callback).inspect_err(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Drops what is the user's, outside all locks and without taking the rest of the work along if
    /// a destructor panics.
    pub(crate) fn let_go<T>(&self, users: T) {
        let _ = self.call(|| drop(users));
    }

    /// As [`call`](Self::call), for a future.
    pub(crate) async fn contain<T>(&self, future: impl Future<Output = T>) -> Result<T, FailureCause> {
        let mut future = pin!(future);
        poll_fn(|context| match self.call(|| future.as_mut().poll(context)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        })
        .await
    }

    /// As [`contain`](Self::contain), for a future of the user, whose making and whose end are the
    /// user's code too.
    async fn tend<'a, T>(&'a self, make: impl FnOnce() -> BoxFuture<'a, T>) -> Result<T, FailureCause> {
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
