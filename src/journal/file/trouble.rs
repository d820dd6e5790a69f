//! What redb says, in the words of a journal.

use std::io;
use std::path::Path;

use redb::StorageError;

use crate::journal::JournalError;

/// What went wrong with some file.
#[derive(Debug)]
pub(crate) enum Trouble {
    InUse,
    Foreign,
    Damaged(String),
    Newer(u32),
    Schema { file: String, here: String },
    Io(io::Error),
}

impl Trouble {
    pub(crate) fn at(self, path: &Path) -> JournalError {
        let path = path.to_owned();
        match self {
            Trouble::InUse => JournalError::InUse { path },
            Trouble::Foreign => JournalError::Foreign { path },
            Trouble::Damaged(what) => JournalError::Damaged { path, what },
            Trouble::Newer(format) => JournalError::Newer { path, format },
            Trouble::Schema { file, here } => JournalError::Schema { path, file, here },
            Trouble::Io(source) => JournalError::Io { path, source },
        }
    }

    /// What was found while a file was only looked at.
    pub(crate) fn of_reading(self) -> Self {
        match self {
            Trouble::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Trouble::Damaged("it ends too early".into())
            }
            other => other,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Io(error)
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Trouble::Io(error),
            redb::Error::Corrupted(what) => Trouble::Damaged(what),
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Trouble::InUse,
            // Of versions of redb that no journal was ever written with.
            redb::Error::UpgradeRequired(_) => Trouble::Foreign,
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Trouble::Damaged(error.to_string()),
            other => Trouble::Io(io::Error::other(other)),
        }
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        redb::Error::from(error).into()
    }
}
