//! How a flush failed: what a sink returns, and what the buffer makes of it.

mod cause;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use cause::FailureCause;
pub(crate) use cause::contained;

/// What a failed attempt means for its data. Decides what may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It may have been applied or not.
    Unknown,
    /// This attempt applied nothing; an earlier one may have.
    NotApplied,
    /// No attempt was applied, nor can be any more.
    NeverApplied,
}

impl Effect {
    /// Whether a batch may be applied after such an attempt; `before`: whether it may have been already.
    pub(crate) fn may_be_applied(self, before: bool) -> bool {
        match self {
            Effect::Unknown => true,
            Effect::NotApplied => before,
            Effect::NeverApplied => false,
        }
    }
}

/// What is known of a failure.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) effect: Effect,
    /// Another attempt is of no use.
    pub(crate) hopeless: bool,
    pub(crate) cause: FailureCause,
}

impl Failure {
    pub(crate) fn unknown(cause: FailureCause) -> Self {
        Failure { effect: Effect::Unknown, hopeless: false, cause }
    }

    /// Nothing says that the sink has looked at the data: it may just not be there.
    pub(crate) fn blames_nobody(&self) -> bool {
        self.effect != Effect::NeverApplied && !self.hopeless
    }
}

/// What a sink returns when it fails: the error, and what is known about the attempt's effect.
///
/// Any error turns into [`FlushError::unknown`] by `?` or `into()`: the safe assumption. Then the
/// identical content is sent again under the same id, as often as the
/// [`RetryPolicy`](crate::RetryPolicy) says. Say more only if it is certain:
///
/// ```
/// use write_behind::FlushError;
/// # fn commit() -> std::io::Result<()> { Ok(()) }
/// # fn prepare() -> std::io::Result<()> { Ok(()) }
///
/// fn write() -> Result<(), FlushError> {
///     // Nothing has been sent yet.
///     prepare().map_err(FlushError::not_applied)?;
///     // The answer may have been lost.
///     commit()?;
///     Ok(())
/// }
/// # assert!(write().is_ok());
/// ```
///
/// Like `anyhow::Error` it does not implement [`Error`] itself, so that every error converts into it.
#[derive(Debug)]
#[must_use = "data counts as stored unless the error is returned"]
pub struct FlushError {
    pub(crate) scope: Scope,
}

#[derive(Debug)]
pub(crate) enum Scope {
    Batch(Failure),
    /// Never empty.
    Entries(Vec<FailedEntry>),
}

impl Scope {
    /// The cause, or the first of them.
    pub(crate) fn cause(&self) -> &FailureCause {
        match self {
            Scope::Batch(failure) => &failure.cause,
            Scope::Entries(failed) => &failed[0].failure.cause,
        }
    }

    /// What it means for the batch as a whole: where some entries failed, others were applied.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Scope::Batch(failure) => failure.effect,
            Scope::Entries(_) => Effect::Unknown,
        }
    }
}

/// What errors a sink can fail with: any error type, `String`, `&str`, and boxed errors.
type Cause = Box<dyn Error + Send + Sync>;

impl FlushError {
    /// Everything failed, and whether it was applied is not known: a sink that records no ids **may count it
    /// twice**, for the identical content is sent again under the same id, never split and never merged with
    /// newer data. The answer was lost, or did not come in time.
    ///
    /// ```
    /// use write_behind::FlushError;
    /// # fn commit() -> Result<(), String> { Err("connection reset".to_owned()) }
    ///
    /// fn write() -> Result<(), FlushError> {
    ///     commit().map_err(FlushError::unknown) // as `commit()?` does
    /// }
    /// # assert!(write().unwrap_err().is_unknown());
    /// ```
    pub fn unknown(error: impl Into<Cause>) -> Self {
        FlushError::new(Effect::Unknown, error.into())
    }

    /// **Counts twice if it is wrong.** Everything failed and provably nothing of it was applied by this
    /// attempt (the transaction was rolled back). A batch of several keys is halved for the next
    /// attempt, so that a poison key ends up alone. Not so if an earlier attempt ended
    /// [unknown](Self::unknown), because that one may have been applied after all; nor while nothing gets through, which
    /// is no key's fault: when 4 × `flush_concurrency` attempts in a row have failed without anything to
    /// blame, one batch is halved each [`RetryPolicy::delay`](crate::RetryPolicy::delay), and the others stay whole as long as they have
    /// attempts left. Then the identical content is sent again.
    ///
    /// ```
    /// use write_behind::FlushError;
    /// # fn connect() -> Result<(), String> { Err("connection refused".to_owned()) }
    ///
    /// fn write() -> Result<(), FlushError> {
    ///     connect().map_err(FlushError::not_applied) // nothing was sent
    /// }
    /// # assert!(write().unwrap_err().is_not_applied());
    /// ```
    pub fn not_applied(error: impl Into<Cause>) -> Self {
        FlushError::new(Effect::NotApplied, error.into())
    }

    /// **Counts twice if it is wrong.** Everything failed and provably no attempt of this batch was
    /// applied, nor can be any more: the sink has seen to it, for example by recording the batch's id as
    /// void. The batch goes on under new ids, whatever earlier attempts ended like: its halves at once, a key that
    /// is alone after the retry policy's wait.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use write_behind::{BatchId, FlushBatch, FlushError, Sum};
    ///
    /// /// `applied` says of each id whether it was applied (true) or must never be (false), in the storage.
    /// fn refused(
    ///     applied: &mut HashMap<BatchId, bool>,
    ///     batch: &FlushBatch<String, Sum<i64>>,
    /// ) -> Result<(), FlushError> {
    ///     match applied.entry(batch.id()).or_insert(false) {
    ///         true => Ok(()), // an earlier attempt got through
    ///         false => Err(FlushError::never_applied("a page does not exist")), // and a late one finds this
    ///     }
    /// }
    /// # let batch = FlushBatch::builder(1, 1).entry("a".to_owned(), Sum(1), 1).build();
    /// # assert!(refused(&mut HashMap::new(), &batch).unwrap_err().is_never_applied());
    /// # assert!(refused(&mut HashMap::from([(batch.id(), true)]), &batch).is_ok());
    /// ```
    pub fn never_applied(error: impl Into<Cause>) -> Self {
        FlushError::new(Effect::NeverApplied, error.into())
    }

    /// Only these entries failed; **all others count as stored** and are forgotten. `Ok` if there are none.
    ///
    /// Each failed entry goes on alone and always under a new id, even if it was the only one: a sink
    /// that records ids may record this one with what it has applied. An entry of another batch, or one
    /// named twice, is a bug of the sink: the whole batch then counts as failed with an unknown outcome.
    ///
    /// ```
    /// use write_behind::{FlushBatch, FlushError};
    /// # fn store(key: &str, data: u64) -> std::io::Result<()> { Ok(()) }
    ///
    /// fn write(batch: &FlushBatch<String, u64>) -> Result<(), FlushError> {
    ///     FlushError::entries(batch.entries().iter().filter_map(|entry| {
    ///         let stored = store(entry.key(), *entry.data());
    ///         stored.err().map(|error| entry.failed(error))
    ///     }))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The failure of those entries.
    pub fn entries(failed: impl IntoIterator<Item = FailedEntry>) -> Result<(), FlushError> {
        let failed: Vec<FailedEntry> = failed.into_iter().collect();
        if failed.is_empty() { Ok(()) } else { Err(FlushError { scope: Scope::Entries(failed) }) }
    }

    /// **Ends the attempts.** Another one is of no use: the data goes to `handle_error` at once, however
    /// many the retry policy has left.
    ///
    /// ```
    /// use write_behind::{DataBuffer, FlushContext, FlushError, Sum};
    ///
    /// struct Totals;
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         if page.len() > 255 {
    ///             return Err(FlushError::not_applied("it never gets shorter").give_up());
    ///         }
    ///         // …
    ///         Ok(())
    ///     }
    /// }
    /// # let batch = write_behind::FlushBatch::builder(1, 1).entry((), (), 1).build();
    /// # assert!(Totals.handle_flush(&"a".repeat(256), &Sum(1), &batch.context()).unwrap_err().gives_up());
    /// ```
    pub fn give_up(mut self) -> Self {
        match &mut self.scope {
            Scope::Batch(failure) => failure.hopeless = true,
            Scope::Entries(failed) => failed.iter_mut().for_each(|entry| entry.failure.hopeless = true),
        }
        self
    }

    fn new(effect: Effect, error: Cause) -> Self {
        let cause = FailureCause::Error(Arc::from(error));
        FlushError { scope: Scope::Batch(Failure { effect, hopeless: false, cause }) }
    }
}

impl<E: Into<Cause>> From<E> for FlushError {
    fn from(error: E) -> Self {
        FlushError::unknown(error)
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Batch(failure) => failure.cause.fmt(f),
            Scope::Entries(failed) => {
                write!(f, "{} entries failed, the first with: {}", failed.len(), failed[0].failure.cause)
            }
        }
    }
}

/// An entry of a batch that failed while others did not: made by [`Entry::failed`](crate::Entry::failed),
/// which has an example, for [`FlushError::entries`].
#[derive(Debug)]
#[must_use = "an entry that is not given to `FlushError::entries` counts as stored"]
pub struct FailedEntry {
    /// The entry's place in its batch.
    pub(crate) index: u32,
    pub(crate) failure: Failure,
}

impl FailedEntry {
    pub(crate) fn new(index: u32, error: FlushError) -> Self {
        let failure = match error.scope {
            Scope::Batch(failure) => failure,
            Scope::Entries(_) => Failure::unknown(FailureCause::Misreported(
                "the failure of an entry names entries in its turn".into(),
            )),
        };
        FailedEntry { index, failure }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    fn foreign() -> Result<(), FlushError> {
        Err(io::Error::other("disk"))?
    }

    #[test]
    fn any_error_converts_and_counts_as_unknown() {
        let boxed: Cause = "text".into();
        for (error, text) in [(foreign().unwrap_err(), "disk"), (boxed.into(), "text"), ("s".into(), "s")] {
            assert_eq!(error.to_string(), text);
            let Scope::Batch(failure) = error.scope else { panic!("it is the whole batch's") };
            assert_eq!((failure.effect, failure.hopeless), (Effect::Unknown, false));
        }
    }

    #[test]
    fn a_cause_appears_once_in_its_chain() {
        let error = FlushError::from(Outer(io::Error::other("inner")));
        let Scope::Batch(Failure { cause, .. }) = error.scope else { panic!("it is the whole batch's") };
        assert_eq!(cause.to_string(), "outer");
        assert_eq!(cause.source().map(ToString::to_string), Some("inner".to_owned()));
        assert!(cause.error().is_some_and(|error| error.is::<Outer>()));
    }

    #[test]
    fn no_entries_are_no_failure() {
        assert!(FlushError::entries([]).is_ok());
    }

    #[test]
    fn giving_up_keeps_what_is_known() {
        let Scope::Batch(failure) = FlushError::not_applied("no").give_up().scope else { panic!("whole") };
        assert_eq!((failure.effect, failure.hopeless), (Effect::NotApplied, true));
    }

    #[test]
    fn entries_within_an_entry_are_misreported() {
        let inner = FailedEntry::new(0, FlushError::never_applied("x"));
        let nested = FailedEntry::new(1, FlushError::entries([inner]).unwrap_err());
        assert_eq!(nested.failure.effect, Effect::Unknown);
        assert!(matches!(nested.failure.cause, FailureCause::Misreported(_)));
    }
}
