use std::error::Error;
use std::fmt;

type Cause = Box<dyn Error + Send + Sync>;

/// What is known about a transaction that failed: decides what [`ExactlyOnce`](super::ExactlyOnce) does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// [`StoreError::unknown`].
    Unknown,
    /// [`StoreError::rolled_back`].
    RolledBack,
    /// [`StoreError::rejected`].
    Rejected,
}

/// Why a store did not do what it was asked, and what is known about it.
///
/// Any error turns into [`StoreError::unknown`] by `?` or `into()`, which is the safe assumption. Like
/// [`FlushError`](crate::FlushError) it does not implement [`Error`] itself, so that every error converts into
/// it.
///
/// ```
/// use write_behind::exactly_once::{StoreError, StoreErrorKind};
///
/// /// By the class of an SQLSTATE, if the server has answered with one and stays connected.
/// fn classify(class: Option<&str>, error: std::io::Error) -> StoreError {
///     match class {
///         // Data exception, integrity constraint, program limit.
///         Some("22" | "23" | "54") => StoreError::rejected(error),
///         // Deadlock, serialization failure.
///         Some("40") => StoreError::rolled_back(error),
///         _ => StoreError::unknown(error),
///     }
/// }
///
/// let lost = std::io::Error::other("connection reset");
/// assert_eq!(classify(None, lost).kind(), StoreErrorKind::Unknown);
/// ```
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    cause: Cause,
}

impl StoreError {
    /// It may have been done or not: the answer was lost, or it was refused on grounds that no entry of the batch
    /// is to blame for (no connection, disk full, read-only). The identical batch is sent again under the same
    /// id, and never split: an outage does not grind batches to single keys.
    pub fn unknown(error: impl Into<Cause>) -> Self {
        StoreError { kind: StoreErrorKind::Unknown, cause: error.into() }
    }

    /// **Counts twice if it is wrong.** The transaction was rolled back for certain because others were in its
    /// way (a deadlock, a serialization failure): it may well succeed another time, sooner if it is smaller. The
    /// batch is halved, but not if an earlier attempt ended [unknown](Self::unknown).
    pub fn rolled_back(error: impl Into<Cause>) -> Self {
        StoreError { kind: StoreErrorKind::RolledBack, cause: error.into() }
    }

    /// **Counts twice if it is wrong.** The transaction was rolled back for certain because of an entry of the
    /// batch, and would be again: a constraint, a value that does not fit. The batch's id is made void and its
    /// halves go on, until the entry to blame is alone and given up. A store that knows which entries are to
    /// blame applies the others and says [`Fate::AppliedExcept`](super::Fate::AppliedExcept) instead.
    pub fn rejected(error: impl Into<Cause>) -> Self {
        StoreError { kind: StoreErrorKind::Rejected, cause: error.into() }
    }

    /// What is known about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The error that it was made of, for example to hand it on.
    ///
    /// ```
    /// use write_behind::exactly_once::StoreError;
    ///
    /// let error = StoreError::rejected(std::io::Error::other("too long"));
    /// assert!(error.into_cause().is::<std::io::Error>());
    /// ```
    #[must_use]
    pub fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        self.cause
    }
}

impl<E: Into<Cause>> From<E> for StoreError {
    fn from(error: E) -> Self {
        StoreError::unknown(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}
