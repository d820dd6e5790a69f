use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::codec::CodecError;
use crate::error::InsertError;

/// Something is wrong with a journal. The file has not been touched where it says that of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process, or another buffer of this one, has the journal open.
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
    /// The file is a journal that is damaged. It was not touched.
    #[error("the journal {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer version of this library has written the file. It was not touched.
    #[error("the journal {} has format {format}, which this version does not know", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        format: u32,
    },
    /// The journal is of other keys or data. It was not touched.
    #[error("the journal {} is of {file}, and not of {here}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What the file holds.
        file: String,
        /// What the buffer holds.
        here: String,
    },
    /// The file, or the disk that it is on.
    #[error("the journal {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or data could not be written down.
    #[error("the journal {} cannot hold what the codec could not encode: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the codec says.
        source: CodecError,
    },
    /// The file holds what the codec could not read.
    #[error("the journal {} holds what the codec could not decode: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the codec says.
        source: CodecError,
    },
}

/// What was accepted is not known to be on disk.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The journal cannot be written.
    #[error("the journal cannot be written")]
    Failed(#[source] Arc<JournalError>),
    /// It was not written in time; it may be soon.
    #[error("the journal was not written within {0:?}")]
    TimedOut(Duration),
    /// The buffer is over.
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
#[derive(Error)]
#[non_exhaustive]
pub enum DurableError<T> {
    /// It was refused: nothing of it is in the buffer.
    #[error(transparent)]
    Refused(InsertError<T>),
    /// It is in the buffer like any other insert, but not known to be on disk. **Inserting it again counts it twice.**
    #[error("accepted, but not known to be durable: {0}")]
    NotDurable(#[source] SyncError),
}

impl<T> fmt::Debug for DurableError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurableError::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            DurableError::NotDurable(error) => f.debug_tuple("NotDurable").field(error).finish(),
        }
    }
}
