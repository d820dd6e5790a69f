use rusqlite::Transaction;
use write_behind::FlushBatch;
use write_behind::exactly_once::Rejection;

use crate::error::Error;

/// How a batch is written, inside the transaction that records it: [`Sums`](crate::Sums), a closure, or SQL of
/// your own.
///
/// ```
/// use rusqlite::{Transaction, params};
/// use write_behind::exactly_once::{ExactlyOnce, Rejection};
/// use write_behind::{Buffer, FlushBatch};
/// use write_behind_sqlite::{Error, SqliteStore};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("log.db");
/// # rusqlite::Connection::open(&path)?.execute("create table log (user text, action text)", [])?;
/// let log = |transaction: &Transaction<'_>, batch: &FlushBatch<String, Vec<String>>| {
///     let mut insert = transaction.prepare_cached("insert into log values (?1, ?2)")?;
///     let mut refused = Vec::new();
///     for (place, entry) in batch.entries().iter().enumerate() {
///         if entry.key().is_empty() {
///             refused.push(Rejection::new(place, "nobody did this"));
///             continue;
///         }
///         for action in entry.data() {
///             insert.execute(params![entry.key(), action])?;
///         }
///     }
///     Ok::<_, Error>(refused)
/// };
/// let buffer = Buffer::builder().start(ExactlyOnce::new(SqliteStore::open(&path, log)?))?;
/// buffer.insert("ada".to_owned(), "login".to_owned())?;
/// buffer.insert("ada".to_owned(), "logout".to_owned())?;
/// buffer.shutdown(std::time::Duration::from_secs(10))?;
/// # let file = rusqlite::Connection::open(&path)?;
/// # assert_eq!(file.query_row("select count(*) from log", [], |row| row.get::<_, i64>(0))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait WriteBatch<K, V>: Send + Sync + 'static {
    /// Creates what is missing, in a transaction of its own, whenever a store is made. Provided: does nothing.
    ///
    /// # Errors
    ///
    /// Those of SQLite; then there is no store.
    fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let _ = transaction;
        Ok(())
    }

    /// Writes a batch. Returns which entries it has left out because they are refused for good: they are given
    /// up, and all others count.
    ///
    /// The transaction has been begun and is committed, or rolled back, by the store: leave it open. It is the only
    /// one that writes. Runs on a thread of the buffer and holds the store's connection.
    ///
    /// # Errors
    ///
    /// Everything is rolled back. Constraints and values that do not fit, and [`Error::rejected`], mean that an
    /// entry is to blame: the batch is halved until it is alone and given up. Anything else, such as a full disk,
    /// means that the identical batch is tried again.
    ///
    /// # Panics
    ///
    /// Are an error of unknown outcome, and rolled back.
    fn write(&self, transaction: &Transaction<'_>, batch: &FlushBatch<K, V>)
    -> Result<Vec<Rejection>, Error>;
}

impl<K, V, F> WriteBatch<K, V> for F
where
    F: Fn(&Transaction<'_>, &FlushBatch<K, V>) -> Result<Vec<Rejection>, Error> + Send + Sync + 'static,
{
    fn write(
        &self,
        transaction: &Transaction<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Vec<Rejection>, Error> {
        self(transaction, batch)
    }
}
