//! Counters in a SQLite file.

use std::net::TcpListener;
use std::path::PathBuf;
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

const TOTAL: &str = "select value from counters where key = ?1";

pub(crate) async fn run(path: PathBuf, args: &Args, listener: TcpListener) -> Ended {
    let sums = Sums::<String, Sum<i64>>::new("counters").key("key").value("value");
    let ledger = Ledger::new().name("counter");
    let store = SqliteStore::open_with(&path, sums, ledger.clone()).map_err(cannot)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "synchronous", "full")?;
    let reads = Reads { connection: Arc::new(Mutex::new(connection)), ledger };
    serve(OnThreads::new(Arc::new(store)), Arc::new(reads), args, listener).await
}

/// A connection that reads what the store writes, and does not wait for it.
struct Reads {
    /// Guards the connection for the whole of a read.
    connection: Arc<Mutex<Connection>>,
    ledger: Ledger,
}

impl Reads {
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
        let (key, ledger) = (key.to_owned(), self.ledger.clone());
        let total = move |step: &Transaction<'_>| {
            let mut total = step.prepare_cached(TOTAL)?;
            Ok(total.query_row([key], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten())
        };
        let reading = self.with(move |connection| Ok(ledger.read(connection, batch, total)?)).await?;
        Ok(reading.map(|value| value.map(i128::from)))
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.with(move |connection| {
            let step = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let before = step.query_row(TOTAL, [&key], |row| row.get(0)).optional()?;
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
