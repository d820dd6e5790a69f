use std::fmt;
use std::marker::PhantomData;

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;
use write_behind::exactly_once::Rejection;
use write_behind::{Entry, FlushBatch};

use crate::columns::{Array, Columns, Merge, Values};
use crate::error::{Blame, Error};
use crate::ledger::create_if_missing;
use crate::name::{TableName, list, quoted};
use crate::write::{InOneStatement, WriteBatch};

/// A table to which batches are added: one row for each key.
///
/// The table is created if it is missing. One that is there needs a primary key or a unique index of exactly the
/// key columns; its other columns need defaults.
///
/// Several columns: keys are tuples, and so are aggregates. What is added up and what is compared follows from the
/// aggregate ([`Values`]):
///
/// ```no_run
/// use std::time::SystemTime;
/// use write_behind::{Buffer, Count, Max, Sum, exactly_once::ExactlyOnce};
/// use write_behind_postgres::{PostgresStore, Sums};
///
/// type Key = (String, SystemTime); // account and minute
/// type Traffic = (Count<i64>, Sum<i64>, Max<i64>);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sums = Sums::<Key, Traffic>::new("traffic")
///     .key("account").key("minute")
///     .value("requests").value("bytes").value("largest");
/// let store = PostgresStore::connect("postgres://localhost/shop".parse()?, sums).await?;
/// let traffic = Buffer::builder().start_async(ExactlyOnce::new(store))?;
/// traffic.insert(("ada".to_owned(), SystemTime::UNIX_EPOCH), 512)?;
/// traffic.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
///
/// A row that Postgres refuses (a constraint, a sum past 63 bits, a text with a NUL) is given up alone, and the rest of
/// its batch counts.
///
/// Cost: one statement for a batch, record included, in one round trip; rows in the order of their keys. Where a row is
/// refused, a transaction that halves the batch by savepoints until it has found which.
pub struct Sums<K, V> {
    pub(crate) table: TableName,
    pub(crate) keys: Vec<String>,
    pub(crate) values: Vec<String>,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> Sums<K, V> {
    /// A table. Any name will do: it is quoted.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        let table = TableName { schema: None, table: table.into() };
        Sums { table, keys: Vec::new(), values: Vec::new(), types: PhantomData }
    }

    /// The schema that the table is in, which must be there. Default: where the search path leads.
    ///
    /// ```
    /// use write_behind::Sum;
    /// use write_behind_postgres::Sums;
    ///
    /// let sums = Sums::<String, Sum<i64>>::new("page_views").schema("statistics");
    /// # let _ = sums;
    /// ```
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.table.schema = Some(schema.into());
        self
    }

    /// The name of the next key column, in the order of the key's parts.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.keys.push(column.into());
        self
    }

    /// The name of the next value column, in the order of the aggregate's parts.
    #[must_use]
    pub fn value(mut self, column: impl Into<String>) -> Self {
        self.values.push(column.into());
        self
    }
}

impl<K: Columns, V: Values> Sums<K, V> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (what, named, needed) in
            [("key", self.keys.len(), K::types().len()), ("value", self.values.len(), V::columns().len())]
        {
            if named != needed {
                let table = self.table.quoted();
                let problem = format!("{table}: {named} {what} columns are named, and the type has {needed}");
                return Err(Error::Definition(problem));
            }
        }
        Ok(())
    }

    pub(crate) fn create(&self) -> String {
        let values = definitions(&self.values, V::columns().into_iter().map(|(_, sql, _)| sql));
        let (table, keys) = (self.table.quoted(), list(&self.keys));
        format!("create table {table} ({}, {values}, primary key ({keys}))", self.key_definitions())
    }

    pub(crate) fn key_definitions(&self) -> String {
        definitions(&self.keys, K::types())
    }

    /// `first`: the number of the first parameter.
    fn upsert(&self, condition: &str, first: usize) -> String {
        let names: Vec<_> = self.keys.iter().chain(&self.values).cloned().collect();
        let types = K::types().into_iter().chain(V::columns().into_iter().map(|(sql, _, _)| sql));
        let merged: Vec<_> =
            self.values.iter().zip(V::columns()).map(|(name, (_, _, merge))| merged(name, merge)).collect();
        let (table, columns, keys) = (self.table.quoted(), list(&names), list(&self.keys));
        let (arrays, merged) = (array_parameters(first, types), merged.join(", "));
        format!(
            "insert into {table} as old ({columns}) select * from unnest({arrays}) as new ({columns}) {condition} \
             order by {keys} on conflict ({keys}) do update set {merged}"
        )
    }
}

/// Columns as a new table has them.
fn definitions<'a>(names: &[String], types: impl IntoIterator<Item = &'a str>) -> String {
    let columns = names.iter().zip(types).map(|(name, sql)| format!("{} {sql} not null", quoted(name)));
    columns.collect::<Vec<_>>().join(", ")
}

/// Parameters that are arrays of these types. `first`: the number of the first of them.
pub(crate) fn array_parameters<'a>(first: usize, types: impl IntoIterator<Item = &'a str>) -> String {
    let arrays = (first..).zip(types).map(|(place, sql)| format!("${place}::{sql}[]"));
    arrays.collect::<Vec<_>>().join(", ")
}

/// What a column is set to where there is a row.
fn merged(name: &str, merge: Merge) -> String {
    let column = quoted(name);
    let (old, new) = (format!("old.{column}"), format!("excluded.{column}"));
    match merge {
        Merge::Add => format!("{column} = coalesce({old}, 0) + {new}"),
        // These two ignore nulls.
        Merge::Lesser => format!("{column} = least({old}, {new})"),
        Merge::Greater => format!("{column} = greatest({old}, {new})"),
        Merge::Replace => format!("{column} = {new}"),
    }
}

pub(crate) fn arrays<K: Columns, V: Values>(entries: &[Entry<K, V>]) -> Vec<Array<'_>> {
    let keys: Vec<_> = entries.iter().map(Entry::key).collect();
    let data: Vec<_> = entries.iter().map(Entry::data).collect();
    let mut arrays = K::arrays(&keys);
    arrays.extend(V::arrays(&data));
    arrays
}

impl<K, V> WriteBatch<K, V> for Sums<K, V>
where
    K: Columns + Send + Sync + 'static,
    V: Values + Send + Sync + 'static,
{
    async fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.check()?;
        create_if_missing(transaction, &self.table.quoted(), &self.create()).await?;
        // Names that do not exist are found now and not with the first batch.
        transaction.prepare(&self.upsert("", 1)).await?;
        Ok(())
    }

    /// All, and where some are to blame, halves.
    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Vec<Rejection>, Error> {
        let upsert = transaction.prepare_cached(&self.upsert("", 1)).await?;
        let mut refused = Vec::new();
        let mut parts = vec![(0, batch.len())];
        while let Some((start, end)) = parts.pop() {
            let savepoint = transaction.savepoint("part").await?;
            let written = {
                let arrays = arrays(&batch.entries()[start..end]);
                let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(Array::as_parameter).collect();
                savepoint.execute(&upsert, &parameters).await.map_err(Error::from)
            };
            match written {
                Ok(_) => savepoint.commit().await?,
                Err(error) if error.blame() == Blame::Data => {
                    savepoint.rollback().await?;
                    let middle = start.midpoint(end);
                    if middle == start {
                        refused.push(Rejection::new(start, error.to_string()));
                    } else {
                        parts.extend([(middle, end), (start, middle)]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    fn in_one_statement<'a>(&self, batch: &'a FlushBatch<K, V>) -> Option<InOneStatement<'a>> {
        let sql = self.upsert("where exists (select from fresh)", 4);
        Some(InOneStatement { sql, arrays: arrays(batch.entries()) })
    }
}

impl<K, V> fmt::Debug for Sums<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { table, keys, values, .. } = self;
        f.debug_struct("Sums").field("table", table).field("keys", keys).field("values", values).finish()
    }
}
