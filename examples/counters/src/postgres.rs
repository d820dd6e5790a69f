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
use write_behind_postgres::{Error, Ledger, PostgresStore, Sums};

use crate::args::Args;
use crate::counters::{Counters, Reading, checked_total};
use crate::{Ended, cannot, serve};

pub(crate) type Address = Config;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    let parsed: Result<Config, _> = url.parse();
    let mut address = parsed.map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("not a valid Postgres address: {cause}"),
        None => format!("not a valid Postgres address: {error}"),
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

#[async_trait]
impl Counters for PostgresStore<Sums<String, Sum<i64>>> {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        read(self, "select value::text from counters where key = $1", key, batch).await
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        add(self, key, value).await
    }

    /// What a process was writing when it was killed is still carried out, and its session ends after that. Read before,
    /// the counters would lack it for ever.
    async fn await_predecessors(&self) -> Result<(), StoreError> {
        const OTHERS: &str = "
            select count(*) from pg_stat_activity where pid <> pg_backend_pid()
            and datname = current_database() and application_name = current_setting('application_name')";
        let deadline = Instant::now() + Duration::from_secs(5);
        let waited = self.with_connection(async |client| {
            loop {
                let others: i64 = client.query_one(OTHERS, &[]).await?.get(0);
                if others == 0 {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    tracing::warn!(
                        "{others} other sessions use this database; --hydrate is for its only writer: \
                         reads will not show what others write"
                    );
                    return Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(waited.await?)
    }

    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = self.with_connection(async |client| {
            Ok(client.query("select key, coalesce(value, 0) from counters", &[]).await?)
        });
        Ok(rows.await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// `value`: what gives the total of `$1` as text.
pub(crate) async fn read<W: Sync>(
    store: &PostgresStore<W>,
    value: &str,
    key: &str,
    batch: Option<BatchId>,
) -> Result<Reading, StoreError> {
    let (instance, sequence) = batch.map(|batch| (batch.instance as i64, batch.sequence as i64)).unzip();
    let fates = ledger().fates();
    let query = format!("select ({value}), (select fate from {fates} where instance = $2 and sequence = $3)");
    let row = store.with_connection(async |client| {
        let read = client.prepare_cached(&query).await?;
        Ok(client.query_one(&read, &[&key, &instance, &sequence]).await?)
    });
    let row = row.await?;
    Reading::new(row.get::<_, Option<&str>>(0).map(str::parse).transpose()?, row.get(1))
}

pub(crate) async fn add<W: Sync>(store: &PostgresStore<W>, key: &str, value: i64) -> Result<(), StoreError> {
    let added = store.with_connection(async |client| {
        let step = client.transaction().await?;
        let insert = "insert into counters (key, value) values ($1, 0) on conflict do nothing";
        step.execute(insert, &[&key]).await?;
        let select = "select coalesce(value, 0) from counters where key = $1 for update";
        let before = step.query_one(select, &[&key]).await?.get(0);
        let total = checked_total(key, before, value).map_err(Error::rejected)?;
        step.execute("update counters set value = $2 where key = $1", &[&key, &total]).await?;
        Ok(step.commit().await?)
    });
    added.await.map_err(|error| match error {
        Error::Rejected(why) => StoreError::rejected(why),
        error => error.into(),
    })
}
