//! Counters and their ledger in a SQLite file.

mod file;
mod idle;
mod ledger;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use self::file::SqliteFile;
use crate::store::{
    Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, checked_total,
};

const FORGET_THE_DEAD: &str = "
    delete from counter_writers where seen_at < unixepoch() - 90 * 86400;
    delete from counter_batches where writer not in (select writer from counter_writers);
    delete from counter_letters where replayed_at < unixepoch() - 90 * 86400;";

pub(crate) struct SqliteStore {
    file: SqliteFile,
}

impl SqliteStore {
    /// Opens the file and creates what is missing. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(SqliteStore { file: SqliteFile::open(path)? })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn register(&self, writer: Writer) -> Result<(), StoreError> {
        let work = move |step: &rusqlite::Transaction<'_>| {
            step.execute_batch(FORGET_THE_DEAD)?;
            let insert = "insert or ignore into counter_writers (writer, settled_below) values (?1, 0)";
            step.execute(insert, params![writer])?;
            Ok(())
        };
        self.file.write(work).await
    }

    async fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        let deltas = ledger::to_json(deltas.keys.iter().copied().zip(deltas.values.iter().copied()));
        let work = move |step: &rusqlite::Transaction<'_>| {
            if let Some(fate) = ledger::fate(step, batch)? {
                return Ok(Some(fate));
            }
            if !ledger::is_known(step, batch)? {
                return Ok(None);
            }
            ledger::record(step, batch, true)?;
            ledger::add(step, &deltas)?;
            Ok(Some(Fate::Applied))
        };
        if let Some(fate) = self.file.write(work).await? {
            return Ok(fate);
        }
        // Forgotten as dead after 90 quiet days; the next attempt finds it.
        self.register(batch.writer).await?;
        Err(StoreError::Unavailable(format!("the ledger did not know the writer of batch {batch}")))
    }

    async fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        let work = move |step: &rusqlite::Transaction<'_>| match ledger::fate(step, batch)? {
            Some(fate) => Ok(fate),
            None => ledger::record(step, batch, false).map(|()| Fate::Void),
        };
        self.file.write(work).await
    }

    async fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        let work = move |step: &rusqlite::Transaction<'_>| {
            let update = "update counter_writers
                          set settled_below = max(settled_below, ?2), seen_at = unixepoch() where writer = ?1";
            step.execute(update, params![writer, settled_below])?;
            let delete = "delete from counter_batches where writer = ?1 and sequence < ?2";
            step.execute(delete, params![writer, settled_below])?;
            Ok(())
        };
        self.file.write(work).await
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let work = move |step: &rusqlite::Transaction<'_>| {
            step.execute("delete from counter_batches where writer = ?1", params![writer])?;
            step.execute("delete from counter_writers where writer = ?1", params![writer])?;
            Ok(())
        };
        self.file.write(work).await
    }

    async fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        let key = key.to_owned();
        let (writer, sequence) = batch.map(|batch| (batch.writer, batch.sequence)).unzip();
        let query = "select (select value from counters where key = ?1),
                exists (select 1 from counter_batches where writer = ?2 and sequence = ?3 and applied)";
        let work = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(query)?;
            let reading = statement.query_row(params![key, writer, sequence], |row| {
                let value: Option<i64> = row.get(0)?;
                Ok(Reading { value: value.map(i128::from), applied: row.get(1)? })
            })?;
            Ok(reading)
        };
        self.file.read(work).await
    }

    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let work = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare("select key, coalesce(value, 0) from counters")?;
            let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.file.read(work).await
    }

    async fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        let key = key.to_owned();
        let work = move |step: &rusqlite::Transaction<'_>| {
            let query = "select coalesce(value, 0) from counters where key = ?1";
            let before = step.query_row(query, params![key], |row| row.get(0)).optional()?;
            let total = checked_total(&key, before.unwrap_or(0), value)?;
            let upsert = "insert into counters (key, value) values (?1, ?2)
                          on conflict (key) do update set value = excluded.value";
            step.execute(upsert, params![key, total])?;
            Ok(())
        };
        self.file.write(work).await
    }

    async fn replay(&self, letters: Vec<Replay>) -> Result<Vec<Replayed>, StoreError> {
        self.file.write(move |step| letters.iter().map(|letter| ledger::replay(step, letter)).collect()).await
    }
}
