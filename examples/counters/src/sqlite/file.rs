//! The file and its connections. SQLite blocks, so its work is done on threads of their own, and
//! goes on there when the one who waits for it is cancelled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use super::idle::Idle;
use crate::store::StoreError;

/// How long to wait for another process that writes to the same file.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before asking again, where SQLite does not wait by itself.
const PAUSE: Duration = Duration::from_millis(10);

const SETUP: &str = "
    create table if not exists counters (key text primary key, value bigint not null);
    create table if not exists counter_writers (
        writer bigint primary key, settled_below bigint not null, seen_at bigint not null default (unixepoch()));
    create table if not exists counter_batches (
        writer bigint, sequence bigint, applied bigint not null, primary key (writer, sequence)) without rowid;
    create table if not exists counter_letters (
        id text primary key, replayed_at bigint not null default (unixepoch()));";

pub(super) struct SqliteFile {
    path: PathBuf,
    /// Guards the one connection that writes, for a whole transaction: SQLite has one writer at a
    /// time anyway, and waiting here is cheaper than polling the file's lock.
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Idle<Connection>>,
}

impl SqliteFile {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let writer = loop {
            match set_up(path) {
                // Changing the journal's mode does not wait for other processes by itself.
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(PAUSE),
                settled => break settled?,
            }
        };
        let (writer, readers) = (Arc::new(Mutex::new(writer)), Arc::new(Idle::new()));
        Ok(SqliteFile { path: path.to_owned(), writer, readers })
    }

    /// Runs one transaction; rolled back when `work` fails.
    ///
    /// Dropped while it waits for its turn, it does nothing. Dropped later, its thread goes on and
    /// keeps the connection until it is done: the same batch, sent again, waits for that and then
    /// finds what was recorded, and there never is more than one thread to wait for.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut connection = Arc::clone(&self.writer).lock_owned().await;
        spawn_blocking(move || {
            // Takes the write lock at once: a transaction that began by reading could not get it
            // later if another process had written meanwhile.
            let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&step)?;
            step.commit()?;
            Ok(result)
        })
        .await?
    }

    /// Reads, while others read and one writes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        spawn_blocking(move || {
            let connection = readers.take().map_or_else(|| connect(&path), Ok)?;
            let result = work(&connection)?;
            readers.give_back(connection);
            Ok(result)
        })
        .await?
    }
}

fn set_up(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = connect(path)?;
    // Writers do not hold up readers; a commit is on the disk when it is answered.
    connection.pragma_update(None, "journal_mode", "wal")?;
    let setup = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    setup.execute_batch(SETUP)?;
    setup.commit()?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = format!("SQLite: {error}");
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => StoreError::Data(text),
            _ => StoreError::Unavailable(text),
        }
    }
}

/// The work panicked, or the runtime shuts down.
impl From<JoinError> for StoreError {
    fn from(error: JoinError) -> Self {
        StoreError::Unavailable(format!("SQLite: {error}"))
    }
}
