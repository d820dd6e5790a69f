//! The user's sink and observers, behind types that do not name them, with panics contained.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use super::context;
use super::sync::{AtomicU64, Ordering};
use crate::batch::{BatchId, Entry, FlushBatch};
use crate::data_buffer::{DataBuffer, FailedFlush, Verdict};
use crate::failure::{FlushError, FlushFailure, KeyCause, Outcome, Scope, contained};
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

/// What became of a key that was handed to `handle_error`.
#[derive(Debug)]
pub(crate) enum Handled<K, V> {
    Done,
    Requeue(V),
    /// It panicked before it took the data.
    Panicked(Entry<K, V>),
}

trait Erased<K, V>: Send + Sync {
    fn flush(&self, batch: &FlushBatch<K, V>) -> Result<(), Failed>;
    fn handle_error(&self, failed: FailedFlush<K, V>) -> Verdict<V>;
    fn handle_shed(&self, key: K, data: V);
}

impl<K, V, D> Erased<K, V> for D
where
    D: DataBuffer<K, V>,
    D::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn flush(&self, batch: &FlushBatch<K, V>) -> Result<(), Failed> {
        self.handle_flush_batch(batch).or_else(|error| erase(error, batch.len()))
    }

    fn handle_error(&self, failed: FailedFlush<K, V>) -> Verdict<V> {
        DataBuffer::handle_error(self, failed)
    }

    fn handle_shed(&self, key: K, data: V) {
        DataBuffer::handle_shed(self, key, data);
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
    sink: Box<dyn Erased<K, V>>,
    observers: Vec<Arc<dyn Observer>>,
    /// Relaxed: a statistic.
    panics: AtomicU64,
}

impl<K, V> std::fmt::Debug for Callbacks<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static> Callbacks<K, V> {
    pub(crate) fn new(instance: u64, sink: impl DataBuffer<K, V>, observers: Vec<Arc<dyn Observer>>) -> Self {
        Callbacks { instance, sink: Box::new(sink), observers, panics: AtomicU64::new(0) }
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn flush(&self, batch: &FlushBatch<K, V>) -> Result<(), Failed> {
        let result = self.call(|| self.sink.flush(batch));
        let result = result.unwrap_or_else(|panic| Err(Failed::Batch(Outcome::Unknown, panic)));
        if let Err(Failed::Keys(failures)) = &result {
            let panics =
                failures.iter().filter(|(.., cause)| matches!(cause, FlushFailure::Panicked(_))).count();
            self.panics.fetch_add(panics as u64, Ordering::Relaxed);
        }
        result
    }

    pub(crate) fn handle_error(
        &self,
        entry: Entry<K, V>,
        batch: BatchId,
        attempts: u32,
        failure: &FlushFailure,
    ) -> Handled<K, V> {
        let rescued = Arc::new(Mutex::new(None));
        let failed = FailedFlush::new(entry, batch, attempts, failure.clone(), Arc::clone(&rescued));
        match self.call(|| self.sink.handle_error(failed)) {
            Ok(Verdict::Done) => Handled::Done,
            Ok(Verdict::Requeue(data)) => Handled::Requeue(data),
            Err(_) => {
                let entry = rescued.lock().unwrap_or_else(PoisonError::into_inner).take();
                entry.map_or(Handled::Done, Handled::Panicked)
            }
        }
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
}
