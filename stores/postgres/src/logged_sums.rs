use std::fmt;

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;
use write_behind::exactly_once::{Reading, Rejection};
use write_behind::{BatchId, FlushBatch, Sum};

use crate::columns::{Array, Columns};
use crate::error::Error;
use crate::ledger::{create_if_missing, in_columns};
use crate::name::{TableName, list, quoted};
use crate::store::PostgresStore;
use crate::sums::{Sums, array_parameters, arrays};
use crate::write::{InOneStatement, WriteBatch};

/// Any number that is the same in all processes: one of them folds at a time.
const FOLD_LOCK: i64 = 0x666f_6c64;

/// A table of sums behind a log: a batch is appended to the log, and [`fold`](PostgresStore::fold) moves what is there to
/// the sums.
///
/// An append touches no row that anybody else does. Processes that share popular keys do not wait for each other, as they
/// do with [`Sums`](crate::Sums), and no sum overflows in a flush: where it would not fit into 64 bits, the rest stays in
/// the log. Each delta is written twice for it. A total is both together, and
/// [`read_total`](PostgresStore::read_total) reads them at one instant.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use write_behind::exactly_once::ExactlyOnce;
/// use write_behind::{Buffer, SummingBuffer};
/// use write_behind_postgres::{LoggedSums, PostgresStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sums = LoggedSums::<String>::new("page_views").key("page").value("views");
/// let store = Arc::new(PostgresStore::connect("postgres://localhost/shop".parse()?, sums).await?);
/// let views: SummingBuffer<String, i64> =
///     Buffer::builder().start_async(ExactlyOnce::new(Arc::clone(&store)))?;
/// views.add("/home", 1)?;
/// views.shutdown_async(Duration::from_secs(10)).await?;
/// while store.fold(1_000).await? > 0 {} // or a job that does it now and then
/// # Ok(())
/// # }
/// ```
///
/// Tables are created if they are missing: the sums as with [`Sums`](crate::Sums), and the log with the same key columns
/// and `instance`, `sequence` and `delta`. Something has to fold, in any of the processes, or the log grows.
pub struct LoggedSums<K> {
    /// With one value column.
    sums: Sums<K, Sum<i64>>,
    log: TableName,
}

impl<K> LoggedSums<K> {
    /// A table of sums. Its log has the same name with `_log` behind it, unless [`log`](Self::log) says otherwise.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        let table = table.into();
        let log = TableName { schema: None, table: format!("{table}_log") };
        LoggedSums { sums: Sums::new(table).value("value"), log }
    }

    /// The schema that both tables are in, which must be there. Default: where the search path leads.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.sums = self.sums.schema(schema);
        self.log.schema.clone_from(&self.sums.table.schema);
        self
    }

    /// The name of the log's table. Default: that of the sums and `_log`.
    ///
    /// ```
    /// use write_behind_postgres::LoggedSums;
    ///
    /// let sums = LoggedSums::<String>::new("page_views").log("recent_views").schema("statistics");
    /// # let _ = sums;
    /// ```
    #[must_use]
    pub fn log(mut self, table: impl Into<String>) -> Self {
        self.log.table = table.into();
        self
    }

    /// The name of the next key column, in the order of the key's parts.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.sums = self.sums.key(column);
        self
    }

    /// The name of the column of sums. Default: `value`.
    #[must_use]
    pub fn value(mut self, column: impl Into<String>) -> Self {
        self.sums.values = vec![column.into()];
        self
    }

    /// The names of the sums' table, of the log, of the key columns and of the column of sums.
    fn names(&self) -> [String; 4] {
        let Sums { table, keys, values, .. } = &self.sums;
        [table.quoted(), self.log.quoted(), list(keys), list(values)]
    }

    /// The key columns of a table as one row, to compare it with another.
    fn key_of(&self, table: &str) -> String {
        let columns: Vec<_> = self.sums.keys.iter().map(|key| format!("{table}.{}", quoted(key))).collect();
        format!("row({})", columns.join(", "))
    }

    /// Deletes from the log what it adds to the sums, in one statement, so that each row counts once, whoever else is
    /// folding; the lock only saves two of them the same work.
    ///
    /// Rows are locked in the same order as by everybody else. Key by key, so that it looks at no more of a long log than
    /// it folds.
    fn fold(&self) -> String {
        let [sums, log, keys, value] = self.names();
        let (logged, in_log, in_sums, fitting) =
            (self.key_of("logged"), self.key_of("log"), self.key_of("sums"), self.key_of("fits"));
        format!(
            "with turn as materialized (
                select pg_try_advisory_xact_lock($2) as mine
            ), fits as materialized (
                select logged.* from (select distinct {keys} from {log} order by {keys}) as logged
                cross join lateral (select sum(delta) as delta from {log} as log where {in_log} = {logged}) as added
                left join lateral (select {value} as stored from {sums} as sums where {in_sums} = {logged}) as total
                    on true
                where (select mine from turn)
                  and added.delta between -9223372036854775808 and 9223372036854775807
                  and added.delta + coalesce(total.stored, 0) between -9223372036854775808 and 9223372036854775807
                limit $1
            ), gone as (
                delete from {log} as log using fits where {in_log} = {fitting} returning log.*
            ), folded as (
                insert into {sums} as old ({keys}, {value})
                select {keys}, sum(delta) from gone group by {keys} order by {keys}
                on conflict ({keys}) do update set {value} = coalesce(old.{value}, 0) + excluded.{value}
            )
            select count(*) from fits"
        )
    }
}

impl<K: Columns> LoggedSums<K> {
    /// Of the batch with this instance and sequence. `first`: the number of the first parameter of keys.
    fn append(&self, condition: &str, first: usize) -> String {
        let [_, log, keys, _] = self.names();
        let (key_arrays, deltas) = (array_parameters(first, K::types()), first + self.sums.keys.len());
        format!(
            "insert into {log} ({keys}, instance, sequence, delta)
             select {keys}, $1, $2, delta from unnest({key_arrays}, ${deltas}::bigint[]) as new ({keys}, delta)
             {condition}"
        )
    }

    /// As text: the sum and the log together may be more than 64 bits. Null if the key is in neither.
    fn total(&self) -> String {
        let [sums, log, _, value] = self.names();
        let (in_sums, in_log) = (self.key_of("sums"), self.key_of("log"));
        let key = format!("(select * from unnest({}))", array_parameters(1, K::types()));
        format!(
            "select sum(part)::text from (
                 select {value} from {sums} as sums where {in_sums} = {key}
                 union all select delta from {log} as log where {in_log} = {key}
             ) as parts (part)"
        )
    }
}

impl<K: Columns + Send + Sync + 'static> WriteBatch<K, Sum<i64>> for LoggedSums<K> {
    async fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.sums.check()?;
        let [sums, log, keys, _] = self.names();
        create_if_missing(transaction, &sums, &self.sums.create()).await?;
        let create = format!(
            "create table {log} ({}, instance bigint, sequence bigint, delta bigint not null,
             primary key ({keys}, instance, sequence))",
            self.sums.key_definitions()
        );
        create_if_missing(transaction, &log, &create).await?;
        // Names that do not exist are found now and not with the first batch.
        for statement in [self.append("", 3), self.fold(), self.total()] {
            transaction.prepare(&statement).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<K, Sum<i64>>,
    ) -> Result<Vec<Rejection>, Error> {
        let (instance, sequence, _) = in_columns(batch.id(), batch.epoch());
        let arrays = arrays(batch.entries());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&instance, &sequence];
        parameters.extend(arrays.iter().map(Array::as_parameter));
        let append = transaction.prepare_cached(&self.append("", 3)).await?;
        transaction.execute(&append, &parameters).await?;
        Ok(Vec::new())
    }

    fn in_one_statement<'a>(&self, batch: &'a FlushBatch<K, Sum<i64>>) -> Option<InOneStatement<'a>> {
        let sql = self.append("where exists (select from fresh)", 4);
        Some(InOneStatement { sql, arrays: arrays(batch.entries()) })
    }
}

impl<K: Columns> PostgresStore<LoggedSums<K>> {
    /// Moves what the log has of up to so many keys to the sums, and says of how many. Zero: there is nothing that fits
    /// into 64 bits, or another process is at it. Processes may do so at the same time, and each row counts once.
    ///
    /// Cost: one statement; keys are taken in their order.
    ///
    /// # Errors
    ///
    /// Those of Postgres.
    ///
    /// # Cancel safety
    ///
    /// All of it is done or nothing.
    pub async fn fold(&self, keys: u32) -> Result<u64, Error> {
        let row = self.with_connection(async |client| {
            let fold = client.prepare_cached(&self.write().fold()).await?;
            Ok(client.query_one(&fold, &[&i64::from(keys), &FOLD_LOCK]).await?)
        });
        Ok(row.await?.get::<_, i64>(0).unsigned_abs())
    }

    /// Reads a total, folded or not, and what became of `batch`, at one instant: for
    /// [`read_exactly_async`](write_behind::exactly_once::read_exactly_async). `None` for a key that is in neither table.
    ///
    /// ```no_run
    /// use write_behind::SummingBuffer;
    /// use write_behind::exactly_once::{StoreError, read_exactly_async};
    /// use write_behind_postgres::{LoggedSums, PostgresStore};
    ///
    /// async fn total(
    ///     views: &SummingBuffer<String, i64>,
    ///     store: &PostgresStore<LoggedSums<String>>,
    ///     page: &String,
    /// ) -> Result<i128, StoreError> {
    ///     let read = async |batch| Ok(store.read_total(page, batch).await?);
    ///     let exact = read_exactly_async(views, page, read).await?;
    ///     let waiting: i128 = exact.waiting.iter().map(|views| i128::from(views.0)).sum();
    ///     Ok(exact.stored.unwrap_or(0) + waiting)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of Postgres.
    pub async fn read_total(&self, key: &K, batch: Option<BatchId>) -> Result<Reading<Option<i128>>, Error> {
        let key = K::arrays(&[key]);
        let parameters: Vec<_> = key.iter().map(Array::as_parameter).collect();
        let reading = self.read(&self.write().total(), &parameters, batch).await?;
        let total: Option<&str> = reading.value.get(0);
        let no_integer =
            |_| Error::Definition(format!("the total {} is no integer", total.unwrap_or_default()));
        let value = total.map(str::parse).transpose().map_err(no_integer)?;
        Ok(Reading::new(value, reading.fate))
    }
}

impl<K> fmt::Debug for LoggedSums<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoggedSums { sums, log } = self;
        f.debug_struct("LoggedSums").field("sums", sums).field("log", log).finish()
    }
}
