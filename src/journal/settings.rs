use std::any::type_name;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::codec::Codec;
use super::error::JournalError;
#[cfg(all(feature = "journal", feature = "test-util"))]
use super::file::simulated::SimulatedDisk;
#[cfg(feature = "journal")]
use super::postcard::Postcard;
use crate::driver::journal::Opened;

const WINDOW: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// A journal that a buffer is to have: what [`Builder::journal`](crate::Builder::journal) takes.
pub struct Journal<K, V> {
    path: PathBuf,
    codec: Arc<dyn Codec<K, V>>,
    schema: String,
    window: Duration,
    patience: Duration,
    on_failure: OnDiskFailure,
    #[cfg(all(feature = "journal", feature = "test-util"))]
    disk: Option<SimulatedDisk>,
}

impl<K, V> fmt::Debug for Journal<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static> Journal<K, V> {
    /// A journal in this file, which is made if it is not there; its folder has to be. Keys and data are written by
    /// [`Postcard`].
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self
    where
        Postcard: Codec<K, V>,
    {
        Journal::with_codec(path, Postcard)
    }

    /// As [`at`](Self::at), written by a codec of your own.
    #[must_use]
    pub fn with_codec(path: impl Into<PathBuf>, codec: impl Codec<K, V>) -> Self {
        Journal {
            path: path.into(),
            codec: Arc::new(codec),
            schema: format!("{} -> {}", type_name::<K>(), type_name::<V>()),
            window: WINDOW,
            patience: PATIENCE,
            on_failure: OnDiskFailure::default(),
            #[cfg(all(feature = "journal", feature = "test-util"))]
            disk: None,
        }
    }

    /// How long a change may wait until it is written. Default: 50 ms.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// What the buffer does while the file cannot be written. Default: [`OnDiskFailure::Refuse`].
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnDiskFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How long a call waits at most for something to be on disk. Default: 30 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the file holds, in words that are compared at the next start. Default: the names of the two types, which
    /// change when they are moved or renamed.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// On a disk in memory that fails when it is told to, for tests. Feature `test-util`.
    #[cfg(all(feature = "journal", feature = "test-util"))]
    #[must_use]
    pub fn simulated(mut self, disk: &SimulatedDisk) -> Self {
        self.disk = Some(disk.clone());
        self
    }

    #[cfg(feature = "journal")]
    pub(crate) fn open(self, new_instance: u64) -> Result<Opened<K, V>, JournalError> {
        let Journal { path, codec, schema, window, patience, on_failure, .. } = self;
        #[cfg(feature = "test-util")]
        let (disk, head, _) = match self.disk {
            Some(disk) => super::file::open_in(Arc::new(disk), &path, &schema, new_instance)?,
            None => super::file::open(&path, &schema, new_instance)?,
        };
        #[cfg(not(feature = "test-util"))]
        let (disk, head, _) = super::file::open(&path, &schema, new_instance)?;
        Ok(Opened { path, disk, head, codec, window, patience, on_failure })
    }
}

/// What a buffer does while its journal cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDiskFailure {
    /// Inserts are accepted, up to the bounds, and what has to be on disk first waits: durable calls and flushes.
    Wait,
    /// Inserts are refused ([`InsertErrorKind::JournalFailed`](crate::InsertErrorKind::JournalFailed)), durable calls fail,
    /// flushes wait.
    #[default]
    Refuse,
    /// Inserts are accepted and flushed, without a journal: **a crash loses them, or has them counted twice**. Durable
    /// calls fail.
    GoOn,
}

/// What was found in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Which start of the journal this is, from 1.
    pub epoch: u64,
    /// Keys, those in batches included; one that is pending and in a batch counts for both.
    pub keys: u64,
    /// Inserts.
    pub inserts: u64,
    /// Batches.
    pub batches: u64,
}
