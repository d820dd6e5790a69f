//! The journal: what was accepted, on disk, as it is at this moment and not as it came about.
//!
//! What changes is noted where it happens: generations in their partition, what becomes of batches in
//! [`Records`]. A commit collects both and writes them at once. Its rules:
//!
//! - What is recorded together is recorded under one hold of the assembly's lock, and a commit takes what
//!   was recorded under it: no commit sees half of a take, of a split or of a return to the table.
//! - Generations are collected under the same lock, so that they stand in the order of what is recorded.
//! - A batch is handed to a worker when it is on disk. One that is over is forgotten some time later, and counts
//!   as unsettled until then.
//! - Memory is the truth, but for batches that are on disk only because there is no room for them. A file that has failed is never written to again: a fresh one is made of what is here.

mod commit;
pub(crate) mod disk;
mod frame;
#[cfg(all(test, feature = "journal"))]
mod fuzz;
mod load;
pub(crate) mod progress;
mod records;
mod recover;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard};
use crate::journal::{Codec, CodecError, JournalError, OnDiskFailure, Recovered};
use disk::{Disk, Head};
use progress::Progress;

pub(crate) use records::Records;

/// A journal that is open, and what was read from it.
pub(crate) struct Opened<K, V> {
    pub(crate) path: PathBuf,
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) head: Head,
    pub(crate) codec: Arc<dyn Codec<K, V>>,
    pub(crate) window: Duration,
    pub(crate) patience: Duration,
    pub(crate) on_failure: OnDiskFailure,
}

/// A buffer's journal.
pub(crate) struct Journal<K, V> {
    pub(crate) progress: Progress,
    path: PathBuf,
    codec: Arc<dyn Codec<K, V>>,
    /// Guards the file; held during a commit, before any other lock. `None` when the buffer is over.
    disk: Mutex<Option<Box<dyn Disk>>>,
    pub(crate) epoch: u64,
    pub(crate) window: Duration,
    /// How long a call waits that wants something to be durable.
    pub(crate) patience: Duration,
    pub(crate) on_failure: OnDiskFailure,
    /// What was left at the end is in the file. Relaxed: set before the end of draining is told.
    pub(crate) keeps_rest: AtomicBool,
    /// Guards what observers are to be told when no other lock is held.
    news: Mutex<Vec<News>>,
    /// What was found at the start.
    recovered: Mutex<Recovered>,
    /// Statistics. Relaxed: nothing is ordered by them.
    pub(crate) commits: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// What has happened to the file.
#[derive(Debug)]
enum News {
    Failed(Arc<JournalError>),
    Recovered,
}

impl<K, V> Journal<K, V> {
    pub(crate) fn new(opened: Opened<K, V>) -> Self {
        let Opened { path, disk, head, codec, window, patience, on_failure } = opened;
        Journal {
            progress: Progress::new(),
            path,
            codec,
            disk: Mutex::new(Some(disk)),
            epoch: head.epoch,
            window,
            patience,
            on_failure,
            keeps_rest: AtomicBool::new(false),
            news: Mutex::new(Vec::new()),
            recovered: Mutex::new(Recovered { epoch: head.epoch, ..Recovered::default() }),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn codec(&self) -> Arc<dyn Codec<K, V>> {
        Arc::clone(&self.codec)
    }

    fn cannot_encode(&self, source: CodecError) -> JournalError {
        JournalError::Encode { path: self.path.clone(), source }
    }

    pub(crate) fn lock_disk(&self) -> MutexGuard<'_, Option<Box<dyn Disk>>> {
        self.disk.lock()
    }

    pub(crate) fn recovered(&self) -> Recovered {
        *self.recovered.lock()
    }
}
