use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::codec::CodecError;
use crate::error::InsertError;

/// Something is wrong with a journal. The file has not been touched where it says that of it.
///
/// At the start it comes as [`BuildError::Journal`](crate::BuildError::Journal), and nothing runs; later by
/// [`Observer::journal_failed`](crate::Observer::journal_failed), as the cause of [`SyncError::Failed`] and in
/// [`Health::journal_failure`](crate::Health::journal_failure).
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use write_behind::journal::{Journal, JournalError};
/// use write_behind::{BuildError, Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("views.journal");
///
/// let views = Buffer::builder().journal(Journal::at(&path)).start(store)?;
/// let second = Buffer::builder().journal(Journal::at(&path)).start(store);
/// assert!(matches!(second, Err(BuildError::Journal(JournalError::InUse { .. }))));
/// # views.add("/home", 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process, or another buffer of this one, has the journal open. A buffer that has been shut down lets it go when
    /// all its callbacks are back, a process when it has ended, and all that were forked from it. Waiting may help.
    #[error("the journal {} is in use by another buffer or process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is no journal. It was not touched.
    #[error("{} is no journal", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is a journal that is damaged, or it is empty. It was not touched. No crash and no power cut does that to
    /// it; a broken disk does, a restored half of a file, or somebody else who writes to it. Move it away to start
    /// without what it holds.
    #[error("the journal {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer version of this library has written the file. It was not touched. Start that version again.
    #[error("the journal {} has format {format}, which this version does not know", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        format: u32,
    },
    /// The journal is of other keys or data, by its [schema](super::Journal::schema). It was not touched.
    #[error("the journal {} is of {file}, and not of {here}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What the file holds.
        file: String,
        /// What the buffer holds.
        here: String,
    },
    /// The file, or the disk that it is on: it is full or broken, the folder is not there, or must not be written to.
    #[error("the journal {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal holds batches of several keys, and the sink takes single keys, each under an id of its own. Start once
    /// more with a sink that takes batches, and let it drain.
    #[error("the journal {} holds batches of several keys, and the sink takes single ones", path.display())]
    Batches {
        /// The file.
        path: PathBuf,
    },
    /// A key or data could not be written down: the codec refused it, or panicked. **The journal stands still until that key
    /// is gone**, because no commit can leave it out, and what is not recorded is not flushed either.
    /// [`remove`](crate::Buffer::remove) helps while it is pending; nothing does once it is in a batch.
    #[error("the journal {} cannot hold what the codec could not encode: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the codec says.
        source: CodecError,
    },
    /// The file holds what the codec could not read. Nothing of that has changed in it; that it was opened is noted.
    #[error("the journal {} holds what the codec could not decode: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the codec says.
        source: CodecError,
    },
}

/// What was accepted is not known to be on disk.
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use write_behind::journal::SyncError;
///
/// /// Whether it is worth while to ask again.
/// fn is_passing(error: &SyncError) -> bool {
///     matches!(error, SyncError::Failed(_) | SyncError::TimedOut(_))
/// }
/// # assert!(!is_passing(&SyncError::NoJournal));
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The journal cannot be written. The buffer goes on trying; what [`OnDiskFailure`](super::OnDiskFailure) says holds until
    /// then. Not with [`OnDiskFailure::Wait`](super::OnDiskFailure::Wait), where the call waits.
    #[error("the journal cannot be written")]
    Failed(#[source] Arc<JournalError>),
    /// It was not written within [`Journal::patience`](super::Journal::patience); it may be soon.
    #[error("the journal was not written within {0:?}")]
    TimedOut(Duration),
    /// The buffer is over. What `shutdown` says tells whether everything is delivered, or in the journal.
    #[error("the buffer was closed before the journal was written")]
    Closed,
    /// The buffer has no journal. Nothing was done.
    #[error("the buffer has no journal")]
    NoJournal,
    /// Called from inside one of this buffer's own callbacks, or under one of its locks. Nothing was done.
    #[error("called from a callback of the same buffer, or under a lock of it")]
    WouldDeadlock,
    /// The process was forked from the one that runs the buffer. Nothing was done.
    #[error("the buffer belongs to the process that this one was forked from")]
    Forked,
    /// The sink is async, and the blocking call was made on a thread that runs async tasks: use the
    /// async counterpart. Nothing was done. Feature `tokio`.
    #[cfg(feature = "tokio")]
    #[error("it would block a thread that runs async tasks; use the async counterpart of this call")]
    WouldBlock,
}

/// An insert that was to be durable is not, or is not known to be.
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use write_behind::journal::{DurableError, Journal, SyncError};
/// use write_behind::{Buffer, Sum, SummingBuffer};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// /// The status of an HTTP answer.
/// fn count(views: &SummingBuffer<String, i64>, page: &str) -> u16 {
///     match views.add_durable(page, 1) {
///         Ok(()) => 200,
///         // Nothing was done: the client may come again.
///         Err(DurableError::Refused(_) | DurableError::Unavailable { .. }) => 503,
///         // It counts if the process lives on. Coming again may count it twice.
///         Err(DurableError::NotDurable(SyncError::Failed(_) | SyncError::TimedOut(_))) => 202,
///         Err(_) => 500,
///     }
/// }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("views.journal");
///
/// let views = Buffer::builder().journal(Journal::at(path)).start(store)?;
/// assert_eq!(count(&views, "/home"), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Error)]
#[non_exhaustive]
pub enum DurableError<T> {
    /// It was refused: nothing of it is in the buffer, and it is inside. **Lost if this is dropped.**
    #[error(transparent)]
    Refused(InsertError<T>),
    /// It could not be waited for, so it was not inserted, and is inside. **Lost if this is dropped.**
    #[error("not inserted: {why}")]
    Unavailable {
        /// Why not.
        #[source]
        why: SyncError,
        /// What was to be inserted.
        rejected: T,
    },
    /// It is in the buffer like any other insert, but not known to be on disk. **Inserting it again counts it twice.**
    /// Call [`sync`](crate::Buffer::sync) to ask once more.
    #[error("accepted, but not known to be durable: {0}")]
    NotDurable(#[source] SyncError),
}

impl<T> fmt::Debug for DurableError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurableError::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            DurableError::Unavailable { why, .. } => {
                f.debug_struct("Unavailable").field("why", why).finish_non_exhaustive()
            }
            DurableError::NotDurable(error) => f.debug_tuple("NotDurable").field(error).finish(),
        }
    }
}
