use std::cmp::Ordering;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use write_behind::exactly_once::{Fate, Reading};
use write_behind::{BatchId, Writer};

use crate::error::Error;
use crate::name::TableName;

/// The two small tables that make a batch count once: where they are, and for how long they remember instances
/// that are never heard of again. All stores of one file may share them.
///
/// ```
/// use std::time::Duration;
/// use write_behind::Sum;
/// use write_behind_sqlite::{Ledger, SqliteStore, Sums};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("views.db");
/// let sums = Sums::<String, Sum<i64>>::new("page_views").key("page").value("views");
/// let ledger = Ledger::new().name("bookkeeping").forget_after(Duration::from_secs(30 * 86_400));
/// let store = SqliteStore::open_with(&path, sums, ledger)?;
/// # let file = rusqlite::Connection::open(&path)?;
/// # assert!(file.table_exists(None, "bookkeeping_writers")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ledger {
    schema: Option<String>,
    name: String,
    forget_after: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            schema: None,
            name: "write_behind".to_owned(),
            forget_after: Duration::from_secs(90 * 86_400),
        }
    }
}

impl Ledger {
    /// The default ledger.
    #[must_use]
    pub fn new() -> Self {
        Ledger::default()
    }

    /// What the tables' names begin with; `_writers` and `_fates` follow. Default: `write_behind`. Quoted.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The schema that they are in, of an attached database. Default: `main`. **An attached database in WAL mode
    /// commits by itself**: a power failure can part it from the others. Keep the ledger beside the data.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Instances that have shown no sign of life for so long are forgotten when another one begins: those of
    /// processes that were killed. Default: 90 days. **A batch that is in doubt for longer stays undelivered**:
    /// choose more than the longest outage that is to be survived.
    ///
    /// Instances that were started again, with a higher epoch than 1, are never forgotten for that: they may come back.
    #[must_use]
    pub fn forget_after(mut self, silence: Duration) -> Self {
        self.forget_after = silence;
        self
    }

    /// The table of fates, quoted, for a read that asks in one statement for a row and whether the batch in flight
    /// is in it: columns `instance`, `sequence` (the instance `as i64`) and `fate`, a text that [`Fate`] reads.
    ///
    /// ```
    /// use write_behind_sqlite::Ledger;
    ///
    /// assert_eq!(Ledger::new().fates(), "\"main\".\"write_behind_fates\"");
    /// ```
    #[must_use]
    pub fn fates(&self) -> String {
        self.table("_fates")
    }

    /// Reads what `work` asks for and what became of `batch` in one snapshot, for
    /// [`read_exactly`](write_behind::exactly_once::read_exactly). On a connection of its own it waits for no batch
    /// that is being written.
    ///
    /// ```
    /// use rusqlite::{Connection, OptionalExtension};
    /// use write_behind::exactly_once::{ExactlyOnce, StoreError, read_exactly};
    /// use write_behind::{Buffer, SummingBuffer};
    /// use write_behind_sqlite::{Error, Ledger, SqliteStore, Sums};
    ///
    /// /// What is in the file and what is in memory, and nothing twice.
    /// fn total(views: &SummingBuffer<String, i64>, file: &Connection, page: &str) -> Result<i64, StoreError> {
    ///     let exact = read_exactly(views, page, |batch| {
    ///         let query = "select views from page_views where page = ?1";
    ///         let read = Ledger::default().read(file, batch, |step| {
    ///             Ok(step.query_row(query, [page], |row| row.get(0)).optional()?.unwrap_or(0))
    ///         });
    ///         Ok::<_, StoreError>(read?)
    ///     })?;
    ///     Ok(exact.stored + exact.waiting.iter().map(|views| views.0).sum::<i64>())
    /// }
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("views.db");
    /// let store = SqliteStore::open(&path, Sums::new("page_views").key("page").value("views"))?;
    /// let views: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store))?;
    /// views.add("/home", 40)?;
    /// views.flush_all_and_wait(std::time::Duration::from_secs(10))?;
    /// views.add("/home", 2)?;
    /// assert_eq!(total(&views, &Connection::open(&path)?, "/home").unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of SQLite and of `work`. There must be no transaction open on the connection.
    pub fn read<T>(
        &self,
        connection: &Connection,
        batch: Option<BatchId>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<Reading<T>, Error> {
        let step = connection.unchecked_transaction()?;
        let value = work(&step)?;
        let fate = match batch.map(in_columns) {
            None => None,
            Some((instance, sequence)) => {
                let query =
                    format!("select fate from {} where instance = ?1 and sequence = ?2", self.fates());
                let mut read = step.prepare_cached(&query)?;
                read.query_row(params![instance, sequence], |row| row.get::<_, String>(0)).optional()?
            }
        };
        Ok(Reading::new(value, fate.map(|fate| fate.parse()).transpose()?))
    }

    fn table(&self, ending: &str) -> String {
        let schema = self.schema.clone().or_else(|| Some("main".to_owned()));
        TableName { schema, table: format!("{}{ending}", self.name) }.quoted()
    }

    pub(crate) fn statements(&self) -> Statements {
        Statements::new(&self.table("_writers"), &self.fates(), self.forget_after)
    }
}

/// What is done inside transactions, of which there is one at a time.
#[derive(Debug)]
pub(crate) struct Statements {
    set_up: String,
    forget: [String; 2],
    silence: i64,
    register: String,
    known: String,
    fate: String,
    record: String,
    raise: String,
    prune: String,
    retire: [String; 2],
}

impl Statements {
    fn new(writers: &str, fates: &str, forget_after: Duration) -> Self {
        Statements {
            set_up: format!(
                "create table if not exists {writers} (
                    instance integer primary key, gate integer not null, epoch integer not null,
                    seen_at integer not null);
                create table if not exists {fates} (
                    instance integer, sequence integer, fate text not null, primary key (instance, sequence)
                ) without rowid;"
            ),
            forget: [
                format!(
                    "delete from {fates} where instance in (
                        select instance from {writers} where epoch = 1 and seen_at < unixepoch() - ?1)"
                ),
                format!("delete from {writers} where epoch = 1 and seen_at < unixepoch() - ?1"),
            ],
            silence: i64::try_from(forget_after.as_secs()).unwrap_or(i64::MAX / 2),
            register: format!(
                "insert into {writers} values (?1, 0, ?2, unixepoch())
                 on conflict (instance) do update
                     set epoch = max(epoch, excluded.epoch), seen_at = excluded.seen_at
                 returning epoch"
            ),
            known: format!("select epoch, gate from {writers} where instance = ?1"),
            fate: format!("select fate from {fates} where instance = ?1 and sequence = ?2"),
            record: format!("insert into {fates} values (?1, ?2, ?3)"),
            raise: format!(
                "update {writers} set gate = max(gate, ?2), seen_at = unixepoch()
                 where instance = ?1 and epoch <= ?3"
            ),
            prune: format!(
                "delete from {fates} where instance = ?1
                 and sequence < (select gate from {writers} where instance = ?1)"
            ),
            retire: [
                format!(
                    "delete from {fates} where instance in (
                        select instance from {writers} where instance = ?1 and epoch <= ?2)"
                ),
                format!("delete from {writers} where instance = ?1 and epoch <= ?2"),
            ],
        }
    }

    pub(crate) fn set_up(&self, step: &Transaction<'_>) -> Result<(), Error> {
        Ok(step.execute_batch(&self.set_up)?)
    }

    pub(crate) fn register(&self, step: &Transaction<'_>, writer: Writer) -> Result<u64, Error> {
        let (instance, epoch) = of_writer(writer);
        let highest: i64 = step.query_row(&self.register, params![instance, epoch], |row| row.get(0))?;
        for forget in &self.forget {
            step.execute(forget, params![self.silence])?;
        }
        Ok(highest.unsigned_abs())
    }

    /// What the ledger says of a batch to somebody of that epoch; `None` if it may be applied or made void.
    pub(crate) fn fate(
        &self,
        step: &Transaction<'_>,
        batch: BatchId,
        epoch: u64,
    ) -> Result<Option<Fate>, Error> {
        let (instance, sequence) = in_columns(batch);
        let mut known = step.prepare_cached(&self.known)?;
        let known = known.query_row(params![instance], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (highest, gate): (i64, i64) = known.unwrap_or_default();
        match highest.cmp(&signed(epoch)) {
            Ordering::Less => return Ok(Some(Fate::Unregistered)),
            Ordering::Greater => return Ok(Some(Fate::Superseded { by: highest.unsigned_abs() })),
            Ordering::Equal => {}
        }
        let mut fate = step.prepare_cached(&self.fate)?;
        let fate = fate.query_row(params![instance, sequence], |row| row.get::<_, String>(0)).optional()?;
        match fate {
            Some(fate) => Ok(Some(fate.parse()?)),
            None => Ok((sequence < gate).then_some(Fate::Settled)),
        }
    }

    pub(crate) fn record(&self, step: &Transaction<'_>, batch: BatchId, fate: &Fate) -> Result<(), Error> {
        let (instance, sequence) = in_columns(batch);
        step.prepare_cached(&self.record)?.execute(params![instance, sequence, fate.to_string()])?;
        Ok(())
    }

    pub(crate) fn prune(&self, step: &Transaction<'_>, writer: Writer, below: u64) -> Result<(), Error> {
        let (instance, epoch) = of_writer(writer);
        step.execute(&self.raise, params![instance, signed(below), epoch])?;
        step.execute(&self.prune, params![instance])?;
        Ok(())
    }

    pub(crate) fn retire(&self, step: &Transaction<'_>, writer: Writer) -> Result<(), Error> {
        let (instance, epoch) = of_writer(writer);
        for retire in &self.retire {
            step.execute(retire, params![instance, epoch])?;
        }
        Ok(())
    }
}

fn in_columns(batch: BatchId) -> (i64, i64) {
    (batch.instance.cast_signed(), signed(batch.sequence))
}

fn of_writer(writer: Writer) -> (i64, i64) {
    (writer.instance.cast_signed(), signed(writer.epoch))
}

/// Sequences and epochs count up from 1.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
