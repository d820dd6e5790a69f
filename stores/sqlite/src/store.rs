use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use write_behind::exactly_once::{Fate, Store, StoreError};
use write_behind::{BatchId, FlushBatch, Writer};

use crate::error::{Error, classify};
use crate::ledger::{Ledger, Statements};
use crate::write::WriteBatch;

/// How long to wait for another process that writes to the same file.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before asking again, where SQLite does not wait by itself.
const PAUSE: Duration = Duration::from_millis(10);

/// Data in SQLite with a ledger beside it: give it to [`ExactlyOnce`](write_behind::exactly_once::ExactlyOnce), and
/// that to `start`. `W` says how batches are written: [`Sums`](crate::Sums), a closure, or a [`WriteBatch`].
///
/// One transaction at a time writes to a SQLite file, so one connection does it all, and
/// [`flush_concurrency`](write_behind::Builder::flush_concurrency) has nothing to gain beyond 1. Several processes
/// may write to one file: each waits up to 10 s for its turn, and tries again.
#[derive(Debug)]
pub struct SqliteStore<W> {
    /// Guards the connection for a whole transaction.
    connection: Arc<Mutex<Connection>>,
    ledger: Statements,
    write: W,
}

impl<W> SqliteStore<W> {
    /// Opens a file, in WAL mode and with `synchronous = full` (a commit is on the disk when it is answered), and
    /// creates what is missing. Processes and threads may do so at the same time. Blocks.
    ///
    /// # Errors
    ///
    /// Those of SQLite, or of `write` if it finds that names and columns do not fit together.
    pub fn open<K, V>(path: impl AsRef<Path>, write: W) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        SqliteStore::open_with(path, write, Ledger::default())
    }

    /// As [`open`](Self::open), with a ledger at a place of your choice.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with<K, V>(path: impl AsRef<Path>, write: W, ledger: Ledger) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        let deadline = Instant::now() + PATIENCE;
        let connection = loop {
            match connect(path.as_ref()) {
                // Changing the journal's mode does not wait for other processes by itself.
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(PAUSE),
                connected => break connected?,
            }
        };
        SqliteStore::on(Arc::new(Mutex::new(connection)), write, ledger)
    }

    /// On a connection that others use too. It stays as it is: mode of the journal, `synchronous` and timeouts are
    /// yours. Creates what is missing. Whoever holds the lock must not leave a transaction open. Blocks.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use write_behind::Sum;
    /// use write_behind_sqlite::{Ledger, SqliteStore, Sums};
    ///
    /// let connection = Arc::new(Mutex::new(rusqlite::Connection::open_in_memory()?));
    /// let sums = Sums::<u32, Sum<i64>>::new("visits").key("shop").value("visits");
    /// let store = SqliteStore::on(Arc::clone(&connection), sums, Ledger::default())?;
    /// # let _ = store;
    /// # Ok::<(), write_behind_sqlite::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn on<K, V>(connection: Arc<Mutex<Connection>>, write: W, ledger: Ledger) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        let store = SqliteStore { connection, ledger: ledger.statements(), write };
        store.transaction(|step| {
            store.ledger.set_up(step)?;
            store.write.set_up(step)
        })?;
        Ok(store)
    }

    /// The connection, to read what was written. Batches wait for whoever holds the lock.
    ///
    /// ```
    /// use write_behind::Sum;
    /// use write_behind_sqlite::{SqliteStore, Sums};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.db");
    /// let sums = Sums::<String, Sum<i64>>::new("page_views").key("page").value("views");
    /// let store = SqliteStore::open(&path, sums)?;
    /// let connection = store.connection().lock().unwrap();
    /// let pages: i64 = connection.query_row("select count(*) from page_views", [], |row| row.get(0))?;
    /// assert_eq!(pages, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn connection(&self) -> &Arc<Mutex<Connection>> {
        &self.connection
    }

    /// Whether a batch counts, for what `shutdown` has returned [in doubt](write_behind::Undelivered::may_be_applied):
    /// if it does not yet it never will, because its id is taken out of use. `epoch`: that of the buffer
    /// ([`writer`](write_behind::Buffer::writer)).
    ///
    /// # Errors
    ///
    /// Those of SQLite.
    pub fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, Error> {
        self.transaction(|step| match self.ledger.fate(step, batch, epoch)? {
            Some(fate) => Ok(fate),
            None => self.ledger.record(step, batch, &Fate::Void).map(|()| Fate::Void),
        })
    }

    /// Commits if `work` succeeds.
    fn transaction<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        // A panic in SQL of the user's has rolled back its transaction.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Takes the write lock at once: a transaction that began by reading could not get it later if another
        // process had written meanwhile.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&step)?;
        step.commit()?;
        Ok(result)
    }
}

impl<K, V, W> Store<K, V> for SqliteStore<W>
where
    K: Send + Sync,
    V: Send + Sync,
    W: WriteBatch<K, V>,
{
    fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        self.transaction(|step| self.ledger.register(step, writer)).map_err(StoreError::unknown)
    }

    fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        let applied = self.transaction(|step| {
            if let Some(fate) = self.ledger.fate(step, batch.id(), batch.epoch())? {
                return Ok(fate);
            }
            let refused = self.write.write(step, batch)?;
            let fate = if refused.is_empty() { Fate::Applied } else { Fate::AppliedExcept(refused) };
            self.ledger.record(step, batch.id(), &fate)?;
            Ok(fate)
        });
        applied.map_err(classify)
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        SqliteStore::void(self, batch, epoch).map_err(StoreError::unknown)
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        self.transaction(|step| self.ledger.prune(step, writer, settled_below)).map_err(StoreError::unknown)
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.transaction(|step| self.ledger.retire(step, writer)).map_err(StoreError::unknown)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
