//! Why a flush failed.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why a flush failed, as told to `handle_error`, to observers and to those who wait for it.
///
/// Cheap to clone. Displays as the sink's own error, whose sources are its [`source`](Error::source)s.
///
/// ```
/// use write_behind::FailureCause;
///
/// /// What to count it as.
/// fn label(cause: &FailureCause) -> &'static str {
///     match cause {
///         FailureCause::Error(_) => "error",
///         FailureCause::Panicked(_) => "panic",
///         FailureCause::Misreported(_) => "bug of the sink",
///         _ => "cancelled",
///     }
/// }
/// # assert_eq!(label(&FailureCause::Panicked("".into())), "panic");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FailureCause {
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

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureCause::Error(error) => error.fmt(f),
            FailureCause::Panicked(message) => write!(f, "the callback panicked: {message}"),
            FailureCause::Misreported(what) => write!(f, "the sink misreported its failure: {what}"),
            #[cfg(feature = "tokio")]
            FailureCause::TimedOut(timeout) => write!(f, "the callback was cancelled after {timeout:?}"),
            #[cfg(feature = "tokio")]
            FailureCause::Cancelled => {
                f.write_str("the callback was cancelled at the end of its buffer or runtime")
            }
        }
    }
}

impl Error for FailureCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FailureCause::Error(error) => error.source(),
            _ => None,
        }
    }
}

impl FailureCause {
    /// The error that the sink returned, to be downcast. `None` if it returned none.
    ///
    /// ```
    /// use write_behind::FailureCause;
    ///
    /// fn is_full_disk(cause: &FailureCause) -> bool {
    ///     let error = cause.error().and_then(|error| error.downcast_ref::<std::io::Error>());
    ///     error.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    /// }
    /// # let cause = FailureCause::Panicked("".into());
    /// # assert!(!is_full_disk(&cause));
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match self {
            FailureCause::Error(error) => Some(error.as_ref()),
            _ => None,
        }
    }

    fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        FailureCause::Panicked(message.into())
    }
}

/// Runs a callback of the user and turns a panic into a failure.
pub(crate) fn contained<T>(callback: impl FnOnce() -> T) -> Result<T, FailureCause> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(|payload| {
        let cause = FailureCause::from_panic(payload.as_ref());
        // A payload whose destructor panics must not take the worker with it.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
        cause
    })
}
