//! What a journal asks of a file system: the real one here, a simulated one for tests.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// Held until it is dropped.
pub(crate) trait Lock: Debug + Send {}

#[derive(Debug)]
struct Locked(File);

impl Lock for Locked {}

impl Drop for Locked {
    #[allow(clippy::incompatible_msrv, reason = "the feature asks for a newer Rust, which has locks")]
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started has a copy of the file open for a moment. If this
        // fails, closing it has to do.
        let _ = self.0.unlock();
    }
}

pub(crate) trait Files: Debug + Send + Sync + 'static {
    /// The one name of the file that it has wherever it is opened from.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// `None`: somebody else holds it. Creates the file if it is missing.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>>;

    /// An empty file, also where there was one, with the permissions that `like` has if it exists.
    fn create(&self, path: &Path, like: &Path) -> io::Result<Box<dyn StorageBackend>>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// At every instant there is either what was at `to` or what is now.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Names of files are durable only when their directory is.
    fn sync_directory_of(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct OnDisk;

impl Files for OnDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = std::path::absolute(path)?;
                match (path.parent(), path.file_name()) {
                    (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    #[allow(clippy::incompatible_msrv, reason = "the feature asks for a newer Rust, which has locks")]
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Locked(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        backend(OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn create(&self, path: &Path, like: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        match fs::metadata(like) {
            Ok(like) => file.set_permissions(like.permissions())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        backend(file)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory_of(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}
