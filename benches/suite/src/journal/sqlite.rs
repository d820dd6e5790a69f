//! SQLite, with a write-ahead log that is synced by each commit.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, Result, params};
use write_behind::RandomState;

const UPSERT: &str = "
    insert into sums (key, total) values (?1, 1)
    on conflict (key) do update set total = sums.total + excluded.total";

/// One connection, as only one can write at a time: waiting here costs less than waiting within SQLite.
pub(super) struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch("create table sums (key integer primary key, total integer not null)")?;
        Ok(Sqlite(Mutex::new(connection)))
    }

    /// A transaction of its own.
    pub(super) fn add(&self, key: u64) -> Result<()> {
        self.0.lock().prepare_cached(UPSERT)?.execute(params![key as i64])?;
        Ok(())
    }

    /// Every key once, in one transaction.
    pub(super) fn fill(&self, keys: u64) -> Result<()> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            (0..keys).try_for_each(|key| upsert.execute(params![key as i64]).map(drop))?;
        }
        transaction.commit()?;
        connection.execute_batch("pragma wal_checkpoint(truncate)")
    }

    pub(super) fn rows(&self) -> Result<u64> {
        let rows: i64 = self.0.lock().query_row("select count(*) from sums", (), |row| row.get(0))?;
        Ok(rows as u64)
    }
}

/// All rows.
pub(super) fn read(path: &Path) -> Result<HashMap<u64, i64, impl BuildHasher + use<>>> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare("select key, total from sums")?;
    let rows = statement.query_map((), |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?;
    rows.collect::<Result<HashMap<u64, i64, RandomState>>>()
}
