//! Counters in Postgres.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use write_behind::exactly_once::StoreError;
use write_behind::{BatchId, Sum};
use write_behind_postgres::{Ledger, LoggedSums, PostgresStore, Sums};

use crate::args::Args;
use crate::counters::{Counters, Reading, checked_total};
use crate::{Ended, cannot, serve};

pub(crate) type Address = Config;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    let mut address: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("not a valid Postgres address: {}", cause.unwrap_or_else(|| error.to_string()))
    })?;
    if address.get_ssl_mode() == SslMode::Require && cfg!(not(feature = "tls")) {
        return Err("this build has no TLS: build it with `--features tls`".to_owned());
    }
    address.application_name("counters");
    Ok(address)
}

pub(crate) fn ledger() -> Ledger {
    Ledger::new().name("counter")
}

/// Batches are added to the totals.
pub(crate) async fn run(address: Address, args: &Args, listener: TcpListener) -> Ended {
    let sums = Sums::<String, Sum<i64>>::new("counters").key("key").value("value");
    let store = Arc::new(PostgresStore::connect_with(address, sums, ledger()).await.map_err(cannot)?);
    serve(Arc::clone(&store), store, args, listener).await
}

/// Batches are appended to a log, which is folded into the totals.
pub(crate) async fn run_logged(address: Address, args: &Args, listener: TcpListener) -> Ended {
    let store = Arc::new(PostgresStore::connect_with(address, logged(), ledger()).await.map_err(cannot)?);
    serve(Arc::clone(&store), store, args, listener).await
}

pub(crate) fn logged() -> LoggedSums<String> {
    LoggedSums::new("counters").log("counter_log").key("key").value("value")
}

/// Others who use the database.
const OTHERS: &str = "
    select count(*) from pg_stat_activity where pid <> pg_backend_pid()
    and datname = current_database() and application_name = current_setting('application_name')";

#[async_trait]
impl Counters for PostgresStore<Sums<String, Sum<i64>>> {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        let reading = self.read("select value from counters where key = $1", &[&key], batch).await?;
        Ok(reading.map(|row| row.get::<_, Option<i64>>(0).map(i128::from)))
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        add(self, key, value).await
    }

    /// What a process was writing when it was killed is still carried out, and its session ends after that. Read before,
    /// the counters would lack it for ever.
    async fn await_predecessors(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let count = async || {
            let row = self.with_connection(async |client| Ok(client.query_one(OTHERS, &[]).await?)).await?;
            Ok::<i64, StoreError>(row.get(0))
        };
        loop {
            match count().await? {
                0 => return Ok(()),
                others if Instant::now() >= deadline => {
                    tracing::warn!(
                        "{others} other sessions use this database; --hydrate is for its only writer: \
                         reads will not show what others write"
                    );
                    return Ok(());
                }
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let all = "select key, coalesce(value, 0) from counters";
        let rows = self.with_connection(async |client| Ok(client.query(all, &[]).await?)).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// How many keys are folded at once.
const KEYS: u32 = 1_000;
/// How long to wait when all have been.
const PAUSE: Duration = Duration::from_millis(250);

#[async_trait]
impl Counters for PostgresStore<LoggedSums<String>> {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        Ok(self.read_total(&key.to_owned(), batch).await?)
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        add(self, key, value).await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        let folded = PostgresStore::fold(self, KEYS).await?;
        Ok(Some(if folded == u64::from(KEYS) { Duration::ZERO } else { PAUSE }))
    }
}

async fn add<W: Sync>(store: &PostgresStore<W>, key: &str, value: i64) -> Result<(), StoreError> {
    let added = store.with_connection(async |client| {
        let step = client.transaction().await?;
        let insert = "insert into counters (key, value) values ($1, 0) on conflict do nothing";
        step.execute(insert, &[&key]).await?;
        let select = "select coalesce(value, 0) from counters where key = $1 for update";
        let before = step.query_one(select, &[&key]).await?.get(0);
        let total = match checked_total(key, before, value) {
            Ok(total) => total,
            Err(problem) => return Ok(Err(problem)),
        };
        step.execute("update counters set value = $2 where key = $1", &[&key, &total]).await?;
        Ok(Ok(step.commit().await?))
    });
    added.await?.map_err(StoreError::rejected)
}
