//! Batches are published to a JetStream stream, and moved to the log table in Postgres from there, each once.
//!
//! A flush needs NATS and not Postgres. Batches go to the log table, where no total can overflow: there is no way back to
//! who published it. Reads see what has been moved, so between its flush and its move an increment is in neither memory
//! nor Postgres, and the total lags by it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use async_trait::async_trait;
use write_behind::exactly_once::StoreError;
use write_behind::{BatchId, Sum};
use write_behind_nats::{BatchStream, NatsStore};
use write_behind_postgres::{LoggedSums, PostgresStore};

use crate::args::Args;
use crate::counters::{Counters, Reading};
use crate::{Ended, cannot, postgres, serve};

pub(crate) type Address = ServerAddr;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    url.parse().map_err(|error: std::io::Error| format!("not a valid NATS address: {error}"))
}

/// A stream in front of the log table.
type Stream = NatsStore<String, Sum<i64>, PostgresStore<LoggedSums<String>>>;

/// Forgets nobody: batches of those long dead may still be in the stream.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

pub(crate) async fn run(
    server: Address,
    database: postgres::Address,
    args: &Args,
    listener: TcpListener,
) -> Ended {
    let ledger = postgres::ledger().forget_after(NEVER);
    let log = PostgresStore::connect_with(database, postgres::logged(), ledger).await.map_err(cannot)?;
    let stream = BatchStream::new("counters").consumer("totals");
    let store: Arc<Stream> = Arc::new(NatsStore::connect(server, stream, log).await.map_err(cannot)?);
    serve(Arc::clone(&store), store, args, listener).await
}

#[async_trait]
impl Counters for Stream {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        Counters::read(self.behind(), key, batch).await
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.behind().add(key, value).await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        // First, as it goes on while NATS is away.
        let pause = Counters::fold(self.behind()).await?;
        Ok(if self.move_some().await? > 0 { Some(Duration::ZERO) } else { pause })
    }
}
