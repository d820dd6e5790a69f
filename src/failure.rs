//! How a flush failed: what a sink returns, and what the buffer makes of it.

use std::error::Error;
use std::fmt;
#[cfg(feature = "tokio")]
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "tokio")]
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::task::Poll;

use crate::batch::FlushBatch;

/// What is known about the effect of a failed flush. Decides what may be done with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It may have been applied or not (a lost answer, a timeout). The identical content is sent
    /// again under the same id, never split and never merged with newer data.
    Unknown,
    /// This attempt applied nothing (the transaction was rolled back). A batch of several keys is
    /// halved for the next attempt, so that a poison key ends up alone; but not if an earlier attempt
    /// of it ended [`Unknown`](Self::Unknown), because that one may have been applied after all: then
    /// the identical content is sent again.
    NotApplied,
    /// No attempt of this batch was applied, nor can be any more: the sink has seen to it, for
    /// example by recording the id of the batch as void. The batch is halved whatever earlier
    /// attempts ended like.
    NeverApplied,
    /// Trying again is of no use. Goes to `handle_error` at once.
    Fatal,
}

/// What [`handle_flush_batch`](crate::DataBuffer::handle_flush_batch) returns when it fails.
///
/// Any error turns into [`FlushError::unknown`] by `?` or `into()`: the safe assumption.
#[derive(Debug)]
pub struct FlushError<E> {
    pub(crate) scope: Scope<E>,
}

#[derive(Debug)]
pub(crate) enum Scope<E> {
    Batch(Outcome, E),
    Keys(Vec<KeyFailure<E>>),
}

impl<E> FlushError<E> {
    /// The whole batch failed, and whether it was applied is not known.
    pub fn unknown(error: E) -> Self {
        FlushError { scope: Scope::Batch(Outcome::Unknown, error) }
    }

    /// The whole batch failed and provably nothing of it was applied by this attempt.
    pub fn not_applied(error: E) -> Self {
        FlushError { scope: Scope::Batch(Outcome::NotApplied, error) }
    }

    /// The whole batch failed and provably nothing of it was or will be applied by any attempt.
    pub fn never_applied(error: E) -> Self {
        FlushError { scope: Scope::Batch(Outcome::NeverApplied, error) }
    }

    /// The whole batch failed and is not worth another attempt.
    pub fn fatal(error: E) -> Self {
        FlushError { scope: Scope::Batch(Outcome::Fatal, error) }
    }

    /// Only these entries failed; all others are done.
    ///
    /// Each failed entry goes on alone, by its own outcome, and always under a new id, even if it was
    /// the only one: a sink that records ids may record this one with what it has applied. An index outside the
    /// batch or named twice is a bug of the sink: the whole batch then counts as failed with an
    /// unknown outcome. An empty list is success.
    pub fn keys(failures: impl IntoIterator<Item = KeyFailure<E>>) -> Self {
        FlushError { scope: Scope::Keys(failures.into_iter().collect()) }
    }
}

impl<E> From<E> for FlushError<E> {
    fn from(error: E) -> Self {
        FlushError::unknown(error)
    }
}

/// One entry's failure inside [`FlushError::keys`].
#[derive(Debug)]
pub struct KeyFailure<E> {
    pub(crate) index: usize,
    pub(crate) outcome: Outcome,
    pub(crate) cause: KeyCause<E>,
}

#[derive(Debug)]
pub(crate) enum KeyCause<E> {
    Error(E),
    Panicked(FlushFailure),
}

impl<E> KeyFailure<E> {
    /// The entry at `index` of [`FlushBatch::entries`] failed in this way.
    pub fn new(index: usize, outcome: Outcome, error: E) -> Self {
        KeyFailure { index, outcome, cause: KeyCause::Error(error) }
    }
}

/// Why a flush failed, as told to `handle_error`, to observers and to those who wait for it.
///
/// Cheap to clone. [`source`](Error::source) gives the sink's own error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FlushFailure {
    /// The sink returned this error.
    Error(Arc<dyn Error + Send + Sync>),
    /// The callback panicked with this message.
    Panicked(Arc<str>),
    /// The sink's answer made no sense; the text says what was wrong with it.
    Misreported(Arc<str>),
    /// The async callback was cancelled after [`Builder::flush_timeout`](crate::Builder::flush_timeout).
    /// Feature `tokio`.
    #[cfg(feature = "tokio")]
    TimedOut(std::time::Duration),
    /// The async callback was cancelled because its runtime shut down, or because shutdown's deadline
    /// came. Feature `tokio`.
    #[cfg(feature = "tokio")]
    Cancelled,
}

impl fmt::Display for FlushFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushFailure::Error(error) => write!(f, "{error}"),
            FlushFailure::Panicked(message) => write!(f, "the callback panicked: {message}"),
            FlushFailure::Misreported(what) => write!(f, "the sink misreported its failure: {what}"),
            #[cfg(feature = "tokio")]
            FlushFailure::TimedOut(timeout) => write!(f, "the callback was cancelled after {timeout:?}"),
            #[cfg(feature = "tokio")]
            FlushFailure::Cancelled => {
                f.write_str("the callback was cancelled at the end of its buffer or runtime")
            }
        }
    }
}

impl Error for FlushFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FlushFailure::Error(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl FlushFailure {
    pub(crate) fn from_error<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        FlushFailure::Error(Arc::from(error.into()))
    }

    pub(crate) fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        FlushFailure::Panicked(message.into())
    }
}

/// Runs a callback of the user and turns a panic into a failure.
pub(crate) fn contained<T>(callback: impl FnOnce() -> T) -> Result<T, FlushFailure> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(|payload| {
        let failure = FlushFailure::from_panic(payload.as_ref());
        // A payload whose destructor panics must not take the worker with it.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
        failure
    })
}

/// As [`contained`], for a future.
#[cfg(feature = "tokio")]
async fn contained_async<T>(future: impl Future<Output = T>) -> Result<T, FlushFailure> {
    let mut future = pin!(future);
    poll_fn(|context| match contained(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Flushes key by key: one key's error or panic is its own and the others go on.
pub(crate) fn flush_each<K, V, E>(
    batch: &FlushBatch<K, V>,
    flush: impl Fn(&K, &V) -> Result<(), E>,
) -> Result<(), FlushError<E>> {
    if let [only] = batch.entries() {
        // The whole batch: it stays the same one, with the same id.
        return flush(only.key(), only.data()).map_err(FlushError::unknown);
    }
    let mut failures = KeyFailures::default();
    for entry in batch.entries() {
        failures.note(contained(|| flush(entry.key(), entry.data())));
    }
    failures.into_result()
}

/// As [`flush_each`], one future after the other.
#[cfg(feature = "tokio")]
pub(crate) async fn flush_each_async<'a, K, V, E, F>(
    batch: &'a FlushBatch<K, V>,
    flush: impl Fn(&'a K, &'a V) -> F,
) -> Result<(), FlushError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    if let [only] = batch.entries() {
        return flush(only.key(), only.data()).await.map_err(FlushError::unknown);
    }
    let mut failures = KeyFailures::default();
    for entry in batch.entries() {
        failures.note(contained_async(async { flush(entry.key(), entry.data()).await }).await);
    }
    failures.into_result()
}

/// The failures among keys that are flushed one after the other.
struct KeyFailures<E> {
    next: usize,
    failures: Vec<KeyFailure<E>>,
}

impl<E> Default for KeyFailures<E> {
    fn default() -> Self {
        KeyFailures { next: 0, failures: Vec::new() }
    }
}

impl<E> KeyFailures<E> {
    /// How the next key went.
    fn note(&mut self, result: Result<Result<(), E>, FlushFailure>) {
        let index = self.next;
        self.next += 1;
        let cause = match result {
            Ok(Ok(())) => return,
            Ok(Err(error)) => KeyCause::Error(error),
            Err(panic) => KeyCause::Panicked(panic),
        };
        self.failures.push(KeyFailure { index, outcome: Outcome::Unknown, cause });
    }

    fn into_result(self) -> Result<(), FlushError<E>> {
        if self.failures.is_empty() { Ok(()) } else { Err(FlushError::keys(self.failures)) }
    }
}
