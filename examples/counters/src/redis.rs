//! Counters in Redis: as durable as that is.

use std::net::TcpListener;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{Client, cmd};
use write_behind::exactly_once::StoreError;
use write_behind::{BatchId, Sum};
use write_behind_redis::{Error, HashSums, Ledger, RedisStore};

use crate::args::Args;
use crate::counters::{Counters, Reading};
use crate::{Ended, cannot, serve};

const TOTALS: &str = "{counters}:totals";

pub(crate) type Address = Client;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    Client::open(url).map_err(|error| format!("not a valid Redis address: {error}"))
}

/// Says so if Redis is set up such that it may lose what it has acknowledged. Nobody is asked to change it: it may be
/// what is wanted.
pub(crate) async fn run(address: Address, args: &Args, listener: TcpListener) -> Ended {
    let (address, ledger) = (address.get_connection_info().clone(), Ledger::new().name("{counters}:writer"));
    let sums = HashSums::<String, Sum<i64>>::new(TOTALS);
    let store = Arc::new(RedisStore::connect_with(address, sums, ledger).await.map_err(cannot)?);
    for doubt in store.doubts().await.map_err(cannot)? {
        tracing::warn!("Redis may lose counters: {doubt}");
    }
    serve(Arc::clone(&store), store, args, listener).await
}

#[async_trait]
impl Counters for RedisStore<HashSums<String, Sum<i64>>> {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        let total = cmd("HGET").arg(TOTALS).arg(key).to_owned();
        let reading = RedisStore::read::<Option<i64>>(self, &total, batch).await?;
        Ok(reading.map(|value| value.map(i128::from)))
    }

    /// Redis adds in one step, so there is nothing to read before.
    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        let add = cmd("HINCRBY").arg(TOTALS).arg(key).arg(value).to_owned();
        let added = self.ask(async |redis| add.exec_async(redis).await).await;
        added.map_err(|error| match &error {
            Error::Redis(answer) if answer.detail().is_some_and(is_about_the_number) => {
                StoreError::rejected(error)
            }
            _ => error.into(),
        })
    }
}

fn is_about_the_number(detail: &str) -> bool {
    detail.contains("overflow") || detail.contains("not an integer")
}
