//! One error type per operation; what was rejected comes back inside.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::failure::FailureCause;
use crate::undelivered::Leftovers;

/// An insert was refused. What was to be inserted is inside, untouched, and **lost if this is dropped**.
///
/// ```
/// use write_behind::{Buffer, InsertErrorKind};
/// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
///
/// let events = Buffer::builder().max_weight(1).start(store)?;
/// events.insert_ref("ada", 1)?;
/// let refused = events.insert_ref("ada", 2).unwrap_err();
/// assert_eq!(refused.kind, InsertErrorKind::Full);
/// assert_eq!(refused.into_rejected(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[error("insert refused: {kind}")]
#[non_exhaustive]
pub struct InsertError<T> {
    /// Why.
    pub kind: InsertErrorKind,
    /// What was refused: key and item, or the item alone where the key was borrowed.
    pub rejected: T,
}

impl<T> InsertError<T> {
    pub(crate) fn new(kind: InsertErrorKind, rejected: T) -> Self {
        InsertError { kind, rejected }
    }

    /// Takes back what was refused: [`InsertError`] has an example.
    pub fn into_rejected(self) -> T {
        self.rejected
    }
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why an insert was refused.
///
/// ```
/// use write_behind::InsertErrorKind;
///
/// /// Whether it is worth while to come back later.
/// fn is_passing(kind: InsertErrorKind) -> bool {
///     use InsertErrorKind::{Full, JournalFailed, TimedOut};
///     matches!(kind, Full | TimedOut | JournalFailed)
/// }
/// # assert!(!is_passing(InsertErrorKind::Closed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum InsertErrorKind {
    /// The buffer has been shut down.
    #[error("the buffer is closed")]
    Closed,
    /// The bound on keys or on weight is reached.
    #[error("the buffer is full")]
    Full,
    /// The bound is reached and no room appeared within the overflow policy's timeout.
    #[error("the buffer is full and no room appeared in time")]
    TimedOut,
    /// The item alone weighs more than the buffer may ever hold.
    #[error("the item alone is heavier than max_weight")]
    TooHeavy,
    /// The bound is reached and the overflow policy would wait, but the sink is async and the thread
    /// runs async tasks: use [`Buffer::insert_async`](crate::Buffer::insert_async). Feature `tokio`.
    #[cfg(feature = "tokio")]
    #[error("the buffer is full, and waiting would block a thread that runs async tasks")]
    WouldBlock,
    /// Called by code that runs under a lock of the same buffer: the drop of an item that an aggregate
    /// lets go of, or a method of a key or an aggregate.
    #[error("called under a lock of the same buffer, it would wait for itself")]
    WouldDeadlock,
    /// The process was forked from the one that runs the buffer: nobody would flush it here.
    #[error("the buffer belongs to the process that this one was forked from")]
    Forked,
    /// The journal cannot be written, and the buffer is to refuse what it cannot keep: `OnDiskFailure::Refuse`, the default.
    /// Passes when it is written again. Feature `journal`.
    #[error("the journal cannot be written")]
    JournalFailed,
}

/// Some items of a bulk insert were refused; all others are in. The refused ones are **lost if this is dropped**.
///
/// ```
/// use write_behind::Buffer;
/// # fn store(_: &u64, _: &Vec<char>) -> std::io::Result<()> { Ok(()) }
///
/// let events = Buffer::builder().max_weight(2).start(store)?;
/// let error = events.insert_many([(7, 'a'), (7, 'b'), (7, 'c')]).unwrap_err();
/// assert_eq!((error.accepted, error.rejected), (2, vec![(7, 'c')]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[error("{} of {} items refused: {kind}", rejected.len(), rejected.len() + accepted)]
#[non_exhaustive]
pub struct InsertManyError<K, I> {
    /// Why the first refused item was refused.
    pub kind: InsertErrorKind,
    /// How many items are in.
    pub accepted: usize,
    /// The refused items, in their order.
    pub rejected: Vec<(K, I)>,
}

impl<K, I> fmt::Debug for InsertManyError<K, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertManyError")
            .field("kind", &self.kind)
            .field("accepted", &self.accepted)
            .field("rejected", &self.rejected.len())
            .finish()
    }
}

/// Waiting for a flush did not end in success.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, FlushWaitError, RetryPolicy, Sum};
///
/// let broken = |_: &String, _: &Sum<i64>| Err("no such table");
/// let views = Buffer::builder().retry(RetryPolicy::never()).start(broken)?;
/// views.add("/home", 1)?;
/// match views.flush_and_wait("/home", Duration::from_secs(5)) {
///     Err(FlushWaitError::Failed(cause)) => assert_eq!(cause.to_string(), "no such table"),
///     other => panic!("{other:?}"),
/// }
/// # views.shutdown(Duration::ZERO).unwrap_err();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum FlushWaitError {
    /// The sink failed for good. For `flush_all_and_wait`, the first of the failures.
    #[error("the flush failed")]
    Failed(#[source] FailureCause),
    /// The flush was not over in time; it goes on.
    #[error("the flush was not over within {0:?}")]
    TimedOut(Duration),
    /// The buffer was shut down before the data was delivered.
    #[error("the buffer was closed before the flush was over")]
    Closed,
    /// Called from inside one of this buffer's own callbacks, or under one of its locks, where it would
    /// wait for itself.
    #[error("called from a callback of the same buffer, it would wait for itself")]
    WouldDeadlock,
    /// The process was forked from the one that runs the buffer.
    #[error("the buffer belongs to the process that this one was forked from")]
    Forked,
    /// The sink is async, and the blocking call was made on a thread that runs async tasks: use the
    /// async counterpart. Nothing was done. Feature `tokio`.
    #[cfg(feature = "tokio")]
    #[error("it would block a thread that runs async tasks; use the async counterpart of this call")]
    WouldBlock,
}

/// Shutting down did not deliver everything, or could not be waited for. What is inside is **lost if this is
/// dropped**.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, ShutdownError, Sum};
///
/// let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Err("the database is away"))?;
/// views.add("/home", 3)?;
/// match views.shutdown(Duration::from_millis(20)) {
///     Err(ShutdownError::Undelivered(left)) => {
///         for left in left {
///             println!("{} {:+}: {:?}", left.key(), left.data().0, left.state());
///         }
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Error)]
pub enum ShutdownError<K, V> {
    /// The deadline came first, or `handle_error` kept something. What is left is inside, and nowhere else; with a journal
    /// it is this only if that could not be written in the end, and the file still holds an earlier state:
    /// [`Buffer::shutdown`](crate::Buffer::shutdown) says what to do.
    #[error("{} inserts were not delivered", .0.inserts())]
    Undelivered(Leftovers<K, V>),
    /// What was not delivered has been returned by an earlier call, or to another caller. `inserts` says
    /// how much that was.
    #[error("{inserts} inserts were not delivered; an earlier call has returned them")]
    AlreadyReturned {
        /// How many inserts were left undelivered.
        inserts: u64,
    },
    /// The process was forked from the one that runs the buffer: nothing was done, and nothing is handed
    /// back that belongs to that process.
    #[error("the buffer belongs to the process that this one was forked from")]
    Forked,
    /// Called from inside one of this buffer's own callbacks, where it would wait for itself. The
    /// buffer is closed to inserts and drains by itself.
    #[error("called from a callback of the same buffer, it would wait for itself")]
    WouldDeadlock,
    /// The sink is async, and the blocking call was made on a thread that runs async tasks: await
    /// [`Buffer::shutdown_async`](crate::Buffer::shutdown_async). The buffer is closed to inserts and
    /// drains by itself. Feature `tokio`.
    #[cfg(feature = "tokio")]
    #[error("it would block a thread that runs async tasks; use shutdown_async")]
    WouldBlock,
}

impl<K, V> ShutdownError<K, V> {
    /// What was not delivered. Nothing if this is not [`Undelivered`](Self::Undelivered).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    ///
    /// let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Err("the database is away"))?;
    /// views.add("/home", 3)?;
    /// let left = views.shutdown(Duration::from_millis(20)).unwrap_err().into_undelivered();
    /// assert_eq!(left.inserts(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_undelivered(self) -> Leftovers<K, V> {
        match self {
            ShutdownError::Undelivered(leftovers) => leftovers,
            _ => Leftovers::default(),
        }
    }
}

impl<K, V> fmt::Debug for ShutdownError<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShutdownError::Undelivered(leftovers) => f.debug_tuple("Undelivered").field(leftovers).finish(),
            ShutdownError::AlreadyReturned { inserts } => {
                f.debug_struct("AlreadyReturned").field("inserts", inserts).finish()
            }
            ShutdownError::Forked => f.write_str("Forked"),
            ShutdownError::WouldDeadlock => f.write_str("WouldDeadlock"),
            #[cfg(feature = "tokio")]
            ShutdownError::WouldBlock => f.write_str("WouldBlock"),
        }
    }
}

/// A setting that `start` refuses; names the option.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{BuildError, Buffer};
/// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
///
/// let error = Buffer::builder().interval(Duration::ZERO).start(store).unwrap_err();
/// assert!(matches!(error, BuildError::Invalid { option: "interval", .. }));
/// assert_eq!(error.to_string(), "`interval` must not be zero");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The option has a value that cannot work.
    #[error("`{option}` {problem}")]
    Invalid {
        /// The builder method.
        option: &'static str,
        /// What is wrong with its value.
        problem: &'static str,
    },
    /// There was no thread yet that could do the buffer's work, and none could be started.
    #[error("could not start a thread: {0}")]
    Thread(std::io::Error),
    /// The journal cannot be used; what is in the file is as it was. Feature `journal`.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// There is no tokio runtime that could run the sink; the text says why. Feature `tokio`.
    #[cfg(feature = "tokio")]
    #[error("no tokio runtime for an async sink: {0}")]
    Runtime(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_be_started_says_why() {
        let error = BuildError::Thread(std::io::Error::other("no more threads"));
        assert_eq!(error.to_string(), "could not start a thread: no more threads");
    }
}
