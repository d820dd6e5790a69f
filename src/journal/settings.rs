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

/// A journal that a buffer is to have: what [`Builder::journal`](crate::Builder::journal) takes. What it promises and
/// how it works: the [module](crate::journal), and [`guide::journal`](crate::guide::journal).
///
/// Three files: the one at the path, the path with `.lock`, which stays and is empty, and the path with `.new`, which is
/// there while a fresh file is being written. One buffer has a journal open at a time, of all processes. The folder has
/// to be on a disk of this machine, or one that keeps its word about syncs and locks of files (of network file
/// systems, many do not), and has to have room for what the buffer holds twice.
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use std::time::Duration;
/// use write_behind::journal::{Journal, OnDiskFailure};
/// use write_behind::{Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("views.journal");
///
/// let journal = Journal::at(path).window(Duration::from_millis(20)).on_failure(OnDiskFailure::Wait);
/// let views = Buffer::builder().journal(journal).start(store)?;
/// views.add_durable("/home", 1)?; // is on disk
/// views.add("/home", 1)?; // will be, some 20 ms later
/// let report = views.shutdown(Duration::from_secs(10))?;
/// assert_eq!(report.journaled, 0, "all of it is delivered");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// [`Postcard`]. Nothing is opened before the buffer starts. [`Journal`] has an example.
    #[cfg(feature = "journal")]
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self
    where
        Postcard: Codec<K, V>,
    {
        Journal::with_codec(path, Postcard)
    }

    /// As [`at`](Self::at), written by a codec of your own, for types that serde does not know or a layout that you want to
    /// decide about. [`Codec`] has an example of one.
    ///
    #[cfg_attr(feature = "journal", doc = "```")]
    #[cfg_attr(not(feature = "journal"), doc = "```ignore")]
    /// use write_behind::journal::{Journal, Postcard};
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let journal = Journal::with_codec(path, Postcard); // as `Journal::at` does
    /// let views = Buffer::builder().journal(journal).start(store)?;
    /// views.add_durable("/home", 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// How long a change waits at most until the commit that writes it begins. Default: 50 ms. Any length; with zero one
    /// commit follows the other while there are changes.
    ///
    /// The longer, the fewer commits, and the more changes of one key are written as one. A crash loses what was
    /// accepted in the last `window`, and while up to two commits lasted: the one that was under way when the
    /// window was over, and the one that would have written it. Calls that wait for the disk do not wait for the window.
    ///
    #[cfg_attr(feature = "journal", doc = "```")]
    #[cfg_attr(not(feature = "journal"), doc = "```ignore")]
    /// use std::time::Duration;
    /// use write_behind::journal::Journal;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let clock = ManualClock::new();
    /// let journal = Journal::at(path).window(Duration::from_millis(200));
    /// let views = Buffer::builder().journal(journal).start_inline(store, &clock)?;
    /// for _ in 0..1_000_000 {
    ///     views.add("/home", 1)?;
    /// }
    /// clock.advance(Duration::from_millis(200));
    /// assert_eq!(views.stats().journal_commits, 1, "of one row");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// What the buffer does while the file cannot be written. Default: [`OnDiskFailure::Refuse`]. [`OnDiskFailure`] has an
    /// example.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnDiskFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How long [`sync`](crate::Buffer::sync), [`insert_durable`](crate::Buffer::insert_durable) and the like wait at
    /// most, before they say [`SyncError::TimedOut`](super::SyncError::TimedOut). Default: 30 s. Any length; with zero they
    /// always say so.
    ///
    #[cfg_attr(feature = "journal", doc = "```")]
    #[cfg_attr(not(feature = "journal"), doc = "```ignore")]
    /// use std::time::Duration;
    /// use write_behind::journal::{Journal, SyncError};
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    ///
    /// let journal = Journal::at(path).patience(Duration::ZERO);
    /// let views = Buffer::builder().journal(journal).start_inline(store, &ManualClock::new())?;
    /// views.add("/home", 1)?;
    /// assert!(matches!(views.sync(), Err(SyncError::TimedOut(Duration::ZERO))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the file holds, in words that are compared at the next start: another schema is refused
    /// ([`JournalError::Schema`]). Default: the names of the two types, which change when they are moved or renamed.
    ///
    /// A change of fields does not change the name: name a version here, and raise it with every change that would make
    /// the bytes unreadable, or readable as something else. To start with another schema, drain the old file by
    /// the old program (a [`shutdown`](crate::Buffer::shutdown) that leaves nothing journaled), and remove it.
    ///
    #[cfg_attr(feature = "journal", doc = "```")]
    #[cfg_attr(not(feature = "journal"), doc = "```ignore")]
    /// use write_behind::journal::{Journal, JournalError};
    /// use write_behind::{BuildError, Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.journal");
    /// # let clock = ManualClock::new();
    ///
    /// let start = |version| {
    ///     Buffer::builder().journal(Journal::at(&path).schema(version)).start_inline(store, &clock)
    /// };
    /// drop(start("views, version 1")?);
    /// let error = start("views, version 2").unwrap_err();
    /// assert!(matches!(error, BuildError::Journal(JournalError::Schema { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// On a disk in memory that fails when it is told to, for tests. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::journal::{Journal, SimulatedDisk};
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let disk = SimulatedDisk::new(42);
    /// let start = || {
    ///     let journal = Journal::at("views.journal").simulated(&disk);
    ///     Buffer::builder().journal(journal).start_inline(store, &ManualClock::new())
    /// };
    /// let views = start()?;
    /// views.add_durable("/home", 1)?;
    /// views.add("/news", 1)?;
    /// disk.cut_power();
    /// # std::mem::forget(views);
    ///
    /// disk.restart();
    /// let views = start()?;
    /// assert_eq!((views.total("/home"), views.total("/news")), (Some(1), Some(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

/// What a buffer does while its journal cannot be written: the disk is full or broken, or the codec has refused something.
///
/// A file that has failed is never written to again. The buffer writes all that it holds into a fresh one and renames
/// that into its place: at once, and if that fails 0.2 s later, 0.4 s, and so on, up to every 30 s. Until that is done the old
/// file holds what was last committed to it, and a crash goes back to that. [`Stats::journal_failing_for`](crate::Stats::journal_failing_for),
/// [`Health::journal_failure`](crate::Health::journal_failure) and
/// [`Observer::journal_failed`](crate::Observer::journal_failed) tell of it; when it is over,
/// [`Observer::journal_recovered`](crate::Observer::journal_recovered). Batches that the file had are sent and sent again all
/// the time.
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use std::time::Duration;
/// use write_behind::journal::{Fault, Journal, OnDiskFailure, SimulatedDisk};
/// use write_behind::{Buffer, InsertErrorKind, ManualClock, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let (disk, clock) = (SimulatedDisk::new(42), ManualClock::new());
/// let journal = Journal::at("views.journal").simulated(&disk).on_failure(OnDiskFailure::Refuse);
/// let views = Buffer::builder().journal(journal).start_inline(store, &clock)?;
/// views.add_durable("/home", 1)?;
///
/// (0..1_000).for_each(|next| disk.fail_at(disk.operations() + next, Fault::NoSpace));
/// views.add("/home", 1)?;
/// views.sync().unwrap_err();
/// assert_eq!(views.add("/home", 1).unwrap_err().kind, InsertErrorKind::JournalFailed);
///
/// disk.mend(); // somebody has made room
/// clock.advance(Duration::from_secs(30)); // and the next try finds it
/// assert_eq!(views.stats().journal_failing_for, None);
/// views.add_durable("/home", 1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDiskFailure {
    /// Inserts are accepted, up to the bounds, and what has to be on disk first waits: durable calls for their
    /// [patience](Journal::patience), new batches for good. **A crash loses what was accepted since the file failed.**
    Wait,
    /// Inserts are refused ([`InsertErrorKind::JournalFailed`](crate::InsertErrorKind::JournalFailed)), durable calls fail
    /// at once, new batches wait. A crash loses what was accepted in the window before, and while the commit that failed
    /// lasted.
    #[default]
    Refuse,
    /// Inserts are accepted and flushed, without a journal: **a crash loses them, or has them counted twice**, because the
    /// old file may still hold what was flushed since. Durable calls fail at once, though what they insert is accepted.
    /// For data of which it is worse to be late than to be wrong.
    GoOn,
}

/// What was found in a journal at the start: what [`Buffer::recovered`](crate::Buffer::recovered) returns.
///
#[cfg_attr(feature = "journal", doc = "```")]
#[cfg_attr(not(feature = "journal"), doc = "```ignore")]
/// use std::time::Duration;
/// use write_behind::journal::Journal;
/// use write_behind::{Buffer, ManualClock, Sum, SummingBuffer};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("views.journal");
///
/// let away = |_: &String, _: &Sum<i64>| Err("the database is away");
/// let start = || -> Result<SummingBuffer<String, i64>, _> {
///     Buffer::builder().journal(Journal::at(&path)).start_inline(away, &ManualClock::new())
/// };
/// let views = start()?;
/// views.add("/home", 1)?;
/// views.add("/home", 1)?;
/// assert_eq!(views.shutdown(Duration::ZERO)?.journaled, 2);
///
/// let views = start()?;
/// let found = views.recovered().expect("it has a journal");
/// assert_eq!((found.epoch, found.keys, found.inserts, found.batches), (2, 1, 2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Which start of the journal this is, from 1: the [epoch](crate::FlushBatch::epoch) of its batches.
    pub epoch: u64,
    /// Keys, those in batches included; one that is pending and in a batch counts for both.
    pub keys: u64,
    /// Inserts: [`Stats::recovered`](crate::Stats::recovered).
    pub inserts: u64,
    /// Batches: those that were under way, that were flushed in the last window before the end, and those that were kept as
    /// undelivered.
    pub batches: u64,
}
