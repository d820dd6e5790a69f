use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::codec::CodecError;

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
    /// The codec could not read what the file holds.
    #[error("the journal {} holds {what} that cannot be decoded: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What it is of: `a key`, `data`, or `a batch`.
        what: &'static str,
        /// What the codec says.
        source: CodecError,
    },
    /// The codec could not write something down.
    #[error("the journal {} cannot hold {what}, which cannot be encoded: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What it is of: `a key`, `data`, or `a batch`.
        what: &'static str,
        /// What the codec says.
        source: CodecError,
    },
}
