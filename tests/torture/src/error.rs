use std::error::Error;
use std::io;
use std::path::Path;

/// Says of which file it is.
pub(crate) fn about(path: &Path, error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::other(format!("{}: {}", path.display(), error.into()))
}
