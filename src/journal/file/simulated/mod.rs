//! A disk in memory that forgets what was not synced.

mod fault;
mod medium;
mod pages;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

pub use self::fault::Fault;
use self::medium::{FileId, Medium};
use super::files::{Files, Lock};

/// A disk in memory, for tests: it can lose its power, fail, or be full, at an operation of your choice.
///
/// What was written and not synced is lost, kept, or torn when the power is cut, at random by a seed: each sector of
/// 512 bytes by itself, so later writes may be kept and earlier ones lost. A file is as long as it was last synced, or
/// at any time since. Files that were made, renamed or removed are so for good when their directory is synced;
/// before that, a cut undoes some of the last of it. After a failed sync it is
/// [not known](https://wiki.postgresql.org/wiki/Fsync_Errors) what is on the disk, and syncing again does not help.
///
/// Its clones are the same disk. All files are in one directory, whatever their path.
///
/// # Example
///
/// ```
/// use write_behind::journal::{Fault, SimulatedDisk};
///
/// let disk = SimulatedDisk::new(42);
/// disk.fail_at(1000, Fault::PowerCut);
/// // … a buffer with its journal on it …
/// disk.restart();
/// // … what does the next buffer find? …
/// ```
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Medium>>);

impl SimulatedDisk {
    /// An empty one. What chance does to it follows from the seed and what is done.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        SimulatedDisk(Arc::new(Mutex::new(Medium::new(seed))))
    }

    /// How many operations there have been that change something: writes, changes of a length, syncs, and files made,
    /// renamed or removed. The first is number 0. Reads are not counted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Has the operation of this number fail, besides any others that are to.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.insert(operation, fault);
    }

    /// Cuts the power now. From here on everything fails.
    pub fn cut_power(&self) {
        self.0.lock().cut_power();
    }

    /// Kills the process now. From here on everything fails, and nothing is lost.
    pub fn kill(&self) {
        self.0.lock().is_down = true;
    }

    /// Whether the power is cut, or the process killed.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.0.lock().is_down
    }

    /// Has nothing fail any more that was to.
    pub fn mend(&self) {
        self.0.lock().faults.clear();
    }

    /// Starts it again, after cutting the power if it was not down. Whatever was open is closed, locks are free, no
    /// faults are to come, and what is there is what has survived.
    pub fn restart(&self) {
        self.0.lock().restart();
    }

    /// What a file holds, synced or not; `None` if there is no such file.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.0.lock().content(path.as_ref())
    }

    /// Writes a file, and syncs it.
    pub fn write(&self, path: impl AsRef<Path>, content: &[u8]) {
        self.0.lock().put(path.as_ref(), content);
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl Files for SimulatedDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut medium = self.0.lock();
        let session = medium.session()?;
        let is_free = medium.locks.insert(path.to_owned());
        Ok(is_free.then(|| Box::new(Held { disk: self.clone(), path: path.to_owned(), session }) as _))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let medium = self.0.lock();
        let (session, id) = (medium.session()?, medium.find(path)?);
        Ok(Box::new(Open { disk: self.clone(), id, session }))
    }

    fn create(&self, path: &Path, _: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let mut medium = self.0.lock();
        let (session, id) = (medium.session()?, medium.create(path)?);
        Ok(Box::new(Open { disk: self.clone(), id, session }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().rename(from, to)
    }

    fn sync_directory_of(&self, _: &Path) -> io::Result<()> {
        self.0.lock().sync_directory()
    }
}

/// The session is which run of the machine it is of: a later one has nothing open that an earlier one had.
#[derive(Debug)]
struct Held {
    disk: SimulatedDisk,
    path: PathBuf,
    session: u64,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut medium = self.disk.0.lock();
        if medium.session == self.session {
            medium.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct Open {
    disk: SimulatedDisk,
    id: FileId,
    session: u64,
}

impl Open {
    fn with<T>(&self, act: impl FnOnce(&mut Medium) -> io::Result<T>) -> io::Result<T> {
        let mut medium = self.disk.0.lock();
        if medium.session()? == self.session { act(&mut medium) } else { Err(fault::down()) }
    }
}

impl StorageBackend for Open {
    fn len(&self) -> io::Result<u64> {
        self.with(|medium| medium.len(self.id))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|medium| medium.read(self.id, offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|medium| medium.set_len(self.id, len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|medium| medium.sync(self.id))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|medium| medium.write(self.id, offset, data))
    }
}
