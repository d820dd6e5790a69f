use std::fmt;
use std::marker::PhantomData;

use rusqlite::Transaction;
use write_behind::FlushBatch;
use write_behind::exactly_once::Rejection;

use crate::columns::{Columns, Merge, Values};
use crate::error::Error;
use crate::name::{TableName, list, quoted};
use crate::write::WriteBatch;

/// A table to which batches are added: one row for each key.
///
/// The table is created if it is missing. One that is there needs a primary key or a unique index of exactly the
/// key columns; its other columns need defaults.
///
/// Several columns: keys are tuples, and so are aggregates. What is added up and what is compared follows from the
/// aggregate ([`Values`]):
///
/// ```
/// use write_behind::{Buffer, Count, Max, Sum, exactly_once::ExactlyOnce};
/// use write_behind_sqlite::{SqliteStore, Sums};
///
/// type Key = (String, i64); // account and minute
/// type Traffic = (Count<i64>, Sum<i64>, Max<i64>);
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("traffic.db");
/// let sums = Sums::<Key, Traffic>::new("traffic")
///     .key("account").key("minute")
///     .value("requests").value("bytes").value("largest");
/// let traffic = Buffer::builder().start(ExactlyOnce::new(SqliteStore::open(&path, sums)?))?;
/// traffic.insert(("ada".to_owned(), 7), 512)?;
/// traffic.insert(("ada".to_owned(), 7), 100)?;
/// traffic.shutdown(std::time::Duration::from_secs(10))?;
/// # let file = rusqlite::Connection::open(&path)?;
/// # let row = file.query_row("select * from traffic", [], |row| {
/// #     Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
/// # })?;
/// # assert_eq!(row, ("ada".to_owned(), 7, 2, 612, 512));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A row that SQLite refuses (a constraint, a trigger, a sum past 63 bits) is given up alone, and the rest of its
/// batch counts. (A trigger that raises `fail` instead of `abort` leaves behind what it has done before, as it
/// always does.)
///
/// Cost: SQLite is in the process, so a row is a prepared statement that is run once more, without a round trip.
pub struct Sums<K, V> {
    table: TableName,
    keys: Vec<String>,
    values: Vec<String>,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> Sums<K, V> {
    /// A table. Any name will do: it is quoted.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        let table = TableName { schema: None, table: table.into() };
        Sums { table, keys: Vec::new(), values: Vec::new(), types: PhantomData }
    }

    /// The schema that the table is in, of an attached database. Default: where SQLite finds it, or `main`.
    ///
    /// ```
    /// use write_behind::Sum;
    /// use write_behind_sqlite::Sums;
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
    fn check(&self) -> Result<(), Error> {
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

    fn create(&self) -> String {
        let keys = self.keys.iter().zip(K::types());
        let values = self.values.iter().zip(V::columns().into_iter().map(|(sql, _)| sql));
        let columns: Vec<_> =
            keys.chain(values).map(|(name, sql)| format!("{} {sql} not null", quoted(name))).collect();
        format!(
            "create table if not exists {} ({}, primary key ({}))",
            self.table.quoted(),
            columns.join(", "),
            list(&self.keys)
        )
    }

    fn upsert(&self) -> String {
        let names: Vec<_> = self.keys.iter().chain(&self.values).cloned().collect();
        let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        let merged: Vec<_> = self
            .values
            .iter()
            .zip(V::columns())
            .map(|(name, (sql, merge))| merged(name, sql, merge))
            .collect();
        format!(
            "insert into {} as old ({}) values ({}) on conflict ({}) do update set {}",
            self.table.quoted(),
            list(&names),
            places.join(", "),
            list(&self.keys),
            merged.join(", ")
        )
    }
}

/// What a column is set to where there is a row.
fn merged(name: &str, sql: &str, merge: Merge) -> String {
    let column = quoted(name);
    let (old, new) = (format!("old.{column}"), format!("excluded.{column}"));
    let sum = format!("coalesce({old}, 0) + {new}");
    match merge {
        // A sum that does not fit would go on as a rounded float. The absolute value of the least integer is what
        // makes SQLite say that.
        Merge::Add if sql == "integer" => format!(
            "{column} = case typeof({sum}) when 'integer' then {sum} else abs(-9223372036854775808) end"
        ),
        Merge::Add => format!("{column} = {sum}"),
        Merge::Lesser => format!("{column} = min(coalesce({old}, {new}), {new})"),
        Merge::Greater => format!("{column} = max(coalesce({old}, {new}), {new})"),
        Merge::Replace => format!("{column} = {new}"),
    }
}

impl<K: Columns + 'static, V: Values + 'static> WriteBatch<K, V> for Sums<K, V> {
    fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.check()?;
        transaction.execute_batch(&self.create())?;
        // Names that do not exist are found now and not with the first batch.
        transaction.prepare(&self.upsert())?;
        Ok(())
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Vec<Rejection>, Error> {
        let mut upsert = transaction.prepare_cached(&self.upsert())?;
        let mut refused = Vec::new();
        let mut row = Vec::new();
        for (place, entry) in batch.entries().iter().enumerate() {
            row.clear();
            let bound = entry.key().bind(&mut row).and_then(|()| entry.data().bind(&mut row));
            let written = bound.and_then(|()| upsert.execute(rusqlite::params_from_iter(&row)));
            match written.map_err(Error::from) {
                Ok(_) => {}
                // SQLite has undone this row and left the transaction open, unless a trigger wanted it otherwise.
                Err(error) if error.is_fault_of_data() && !transaction.is_autocommit() => {
                    refused.push(Rejection::new(place, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

impl<K, V> fmt::Debug for Sums<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { table, keys, values, .. } = self;
        f.debug_struct("Sums").field("table", table).field("keys", keys).field("values", values).finish()
    }
}
