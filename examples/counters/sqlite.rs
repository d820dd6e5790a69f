//! Counters and their ledger in a SQLite file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::idle::Idle;
use crate::store::{
    Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, checked_total, overflow,
};

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

const FORGET_THE_DEAD: &str = "
    delete from counter_writers where seen_at < unixepoch() - 90 * 86400;
    delete from counter_batches where writer not in (select writer from counter_writers);
    delete from counter_letters where replayed_at < unixepoch() - 90 * 86400;";

/// SQLite has no arrays, but takes apart JSON. Where a sum does not fit into 64 bits it silently
/// goes on with a rounded float, so the type of what was written is looked at.
const ADD: &str = "
    insert into counters (key, value)
    select delta.value ->> 0, delta.value ->> 1 from json_each(?1) as delta where true
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value
    returning key, typeof(value) = 'integer'";

pub(crate) struct SqliteStore {
    path: PathBuf,
    /// Guards the one connection that writes, for a whole transaction: SQLite has one writer at a
    /// time anyway, and waiting here is cheaper than polling the file's lock.
    writer: Mutex<Connection>,
    readers: Idle<Connection>,
}

impl SqliteStore {
    /// Opens the file and creates what is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let writer = loop {
            match set_up(path) {
                // Changing the journal's mode does not wait for other processes by itself.
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(PAUSE),
                settled => break settled.map_err(explain)?,
            }
        };
        Ok(SqliteStore { path: path.to_owned(), writer: Mutex::new(writer), readers: Idle::new() })
    }

    /// Runs one transaction; rolled back when `work` fails.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let step = begin(&mut connection)?;
        let result = work(&step)?;
        step.commit().map_err(explain)?;
        Ok(result)
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

/// Takes the write lock at once: a transaction that began by reading could not get it later if
/// another process had written meanwhile.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)
}

fn explain(error: rusqlite::Error) -> StoreError {
    let text = format!("SQLite: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => StoreError::Data(text),
        _ => StoreError::Unavailable(text),
    }
}

fn fate(step: &Connection, batch: LedgerId) -> Result<Option<Fate>, StoreError> {
    let query = "select applied from counter_batches where writer = ?1 and sequence = ?2";
    let mut statement = step.prepare_cached(query).map_err(explain)?;
    let applied = statement.query_row(params![batch.writer, batch.sequence], |row| row.get(0));
    let applied: Option<bool> = applied.optional().map_err(explain)?;
    Ok(applied.map(|applied| if applied { Fate::Applied } else { Fate::Void }))
}

fn record(step: &Connection, batch: LedgerId, applied: bool) -> Result<(), StoreError> {
    let insert = "insert into counter_batches (writer, sequence, applied) values (?1, ?2, ?3)";
    let mut statement = step.prepare_cached(insert).map_err(explain)?;
    statement.execute(params![batch.writer, batch.sequence, applied]).map(drop).map_err(explain)
}

fn is_known(step: &Connection, batch: LedgerId) -> Result<bool, StoreError> {
    let query = "select 1 from counter_writers where writer = ?1 and settled_below <= ?2";
    let mut statement = step.prepare_cached(query).map_err(explain)?;
    statement.exists(params![batch.writer, batch.sequence]).map_err(explain)
}

fn add<'a>(step: &Connection, deltas: impl Iterator<Item = (&'a str, i64)>) -> Result<(), StoreError> {
    let deltas = serde_json::Value::from_iter(deltas.map(|(key, value)| serde_json::json!([key, value])));
    let mut statement = step.prepare_cached(ADD).map_err(explain)?;
    let mut written = statement.query(params![deltas.to_string()]).map_err(explain)?;
    let mut too_much = None;
    while let Some(row) = written.next().map_err(explain)? {
        if !row.get::<_, bool>(1).map_err(explain)? {
            too_much = Some(overflow(&row.get::<_, String>(0).map_err(explain)?));
        }
    }
    too_much.map_or(Ok(()), Err)
}

impl Store for SqliteStore {
    fn register(&self, writer: Writer) -> Result<(), StoreError> {
        self.write(|step| {
            step.execute_batch(FORGET_THE_DEAD).map_err(explain)?;
            let insert = "insert or ignore into counter_writers (writer, settled_below) values (?1, 0)";
            step.execute(insert, params![writer]).map(drop).map_err(explain)
        })
    }

    fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        let applied = self.write(|step| {
            if let Some(fate) = fate(step, batch)? {
                return Ok(Some(fate));
            }
            if !is_known(step, batch)? {
                return Ok(None);
            }
            record(step, batch, true)?;
            add(step, deltas.keys.iter().copied().zip(deltas.values.iter().copied()))?;
            Ok(Some(Fate::Applied))
        })?;
        if let Some(fate) = applied {
            return Ok(fate);
        }
        // Forgotten as dead after 90 quiet days; the next attempt finds it.
        self.register(batch.writer)?;
        Err(StoreError::Unavailable(format!("the ledger did not know the writer of batch {batch}")))
    }

    fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        self.write(|step| match fate(step, batch)? {
            Some(fate) => Ok(fate),
            None => record(step, batch, false).map(|()| Fate::Void),
        })
    }

    fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        self.write(|step| {
            let update = "update counter_writers
                          set settled_below = max(settled_below, ?2), seen_at = unixepoch() where writer = ?1";
            step.execute(update, params![writer, settled_below]).map_err(explain)?;
            let delete = "delete from counter_batches where writer = ?1 and sequence < ?2";
            step.execute(delete, params![writer, settled_below]).map(drop).map_err(explain)
        })
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.write(|step| {
            step.execute("delete from counter_batches where writer = ?1", params![writer])
                .map_err(explain)?;
            let delete = "delete from counter_writers where writer = ?1";
            step.execute(delete, params![writer]).map(drop).map_err(explain)
        })
    }

    fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        let connection = self.readers.take().map_or_else(|| connect(&self.path).map_err(explain), Ok)?;
        let (writer, sequence) = batch.map(|batch| (batch.writer, batch.sequence)).unzip();
        let query = "select (select value from counters where key = ?1),
                exists (select 1 from counter_batches where writer = ?2 and sequence = ?3 and applied)";
        let reading = connection
            .prepare_cached(query)
            .and_then(|mut statement| {
                statement.query_row(params![key, writer, sequence], |row| {
                    Ok(Reading { value: row.get(0)?, applied: row.get(1)? })
                })
            })
            .map_err(explain)?;
        self.readers.give_back(connection);
        Ok(reading)
    }

    fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.write(|step| {
            let query = "select coalesce(value, 0) from counters where key = ?1";
            let before = step.query_row(query, params![key], |row| row.get(0)).optional().map_err(explain)?;
            let total = checked_total(key, before.unwrap_or(0), value)?;
            let upsert = "insert into counters (key, value) values (?1, ?2)
                          on conflict (key) do update set value = excluded.value";
            step.execute(upsert, params![key, total]).map(drop).map_err(explain)
        })
    }

    fn replay(&self, letters: &[Replay<'_>]) -> Result<Vec<Replayed>, StoreError> {
        self.write(|step| letters.iter().map(|letter| replay_one(step, letter)).collect())
    }
}

fn replay_one(step: &Transaction<'_>, letter: &Replay<'_>) -> Result<Replayed, StoreError> {
    let seen = "select 1 from counter_letters where id = ?1";
    let mut seen = step.prepare_cached(seen).map_err(explain)?;
    if seen.exists(params![letter.id]).map_err(explain)? {
        return Ok(Replayed::WasThere);
    }
    if let Some(batch) = letter.batch {
        match fate(step, batch)? {
            Some(Fate::Applied) => return Ok(Replayed::WasThere),
            Some(Fate::Void) => {}
            None if is_known(step, batch)? => record(step, batch, false)?,
            None => return Ok(Replayed::CannotTell),
        }
    }
    let insert = "insert into counter_letters (id) values (?1)";
    step.execute(insert, params![letter.id]).map_err(explain)?;
    add(step, std::iter::once((letter.key, letter.value)))?;
    Ok(Replayed::Added)
}
