//! Counters in a SQLite file.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use write_behind::exactly_once::{OnThreads, StoreError};
use write_behind::{BatchId, Sum};
use write_behind_sqlite::{Ledger, SqliteStore, Sums};

use crate::args::Args;
use crate::counters::{Counters, Reading, checked_total};
use crate::{Ended, cannot, serve};

pub(crate) async fn run(path: &Path, args: &Args, listener: TcpListener) -> Ended {
    let sums = Sums::<String, Sum<i64>>::new("counters").key("key").value("value");
    let ledger = Ledger::new().name("counter");
    let store = SqliteStore::open_with(path, sums, ledger.clone()).map_err(cannot)?;
    let reads = Reads::open(path, &ledger).map_err(cannot)?;
    serve(OnThreads::new(Arc::new(store)), Arc::new(reads), args, listener).await
}

/// A connection that reads what the store writes, and does not wait for it.
struct Reads {
    /// Guards the connection for the whole of a read.
    connection: Arc<Mutex<Connection>>,
    read: Arc<str>,
}

impl Reads {
    fn open(path: &Path, ledger: &Ledger) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "synchronous", "full")?;
        let read = format!(
            "select (select value from counters where key = ?1),
                    (select fate from {} where instance = ?2 and sequence = ?3)",
            ledger.fates()
        );
        Ok(Reads { connection: Arc::new(Mutex::new(connection)), read: read.into() })
    }

    /// SQLite blocks, so its work is done on a thread for that.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await?
    }
}

#[async_trait]
impl Counters for Reads {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        let (key, query) = (key.to_owned(), Arc::clone(&self.read));
        let batch = batch.map(|batch| (batch.instance as i64, batch.sequence as i64)).unzip();
        self.with(move |connection| {
            let mut read = connection.prepare_cached(&query)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (value, fate): (Option<i64>, Option<String>) =
                read.query_row(params![key, batch.0, batch.1], row)?;
            Reading::new(value.map(i128::from), fate.as_deref())
        })
        .await
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.with(move |connection| {
            let step = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let query = "select value from counters where key = ?1";
            let before = step.query_row(query, params![key], |row| row.get(0)).optional()?;
            let total = checked_total(&key, before.unwrap_or(0), value).map_err(StoreError::rejected)?;
            let upsert = "insert into counters (key, value) values (?1, ?2)
                          on conflict (key) do update set value = excluded.value";
            step.execute(upsert, params![key, total])?;
            Ok(step.commit()?)
        })
        .await
    }

    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        self.with(|connection| {
            let mut all = connection.prepare("select key, value from counters")?;
            let rows = all.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
