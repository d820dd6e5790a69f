//! The log table: a flush appends its deltas, and they are folded into the totals afterwards.
//!
//! Appending touches no row that anybody else does, so that popular keys make no queue of processes, and it never
//! overflows. A total is what has been folded and what is in the log, read in one statement. The ledger is written with
//! the append, and stays when the log's rows are folded away.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use write_behind::exactly_once::{Rejection, StoreError};
use write_behind::{BatchId, FlushBatch, Sum};
use write_behind_postgres::{Error, PostgresStore, WriteBatch};

use crate::args::Args;
use crate::counters::{Counters, Reading};
use crate::postgres::{self, Address};
use crate::{Ended, cannot, serve};

/// How many keys one statement folds.
const KEYS: i64 = 1_000;
/// How long to wait when all keys have been folded.
const PAUSE: Duration = Duration::from_millis(250);
/// Any number that is the same in all processes: one of them folds at a time.
const FOLD_LOCK: i64 = 0x666f_6c64;

const SETUP: &str = "
    create table if not exists counters (key text primary key, value bigint not null);
    create table if not exists counter_log (
        key text, instance bigint, sequence bigint, delta bigint not null, primary key (key, instance, sequence))";

const APPEND: &str = "
    insert into counter_log (key, instance, sequence, delta)
    select key, $1, $2, value from unnest($3::text[], $4::bigint[]) as delta (key, value)";

/// As text: totals and the log together may be more than 64 bits. Null if the key is in neither.
const TOTAL: &str = "
    select sum(value)::text from (
        select value from counters where key = $1 union all select delta from counter_log where key = $1
    ) as parts (value)";

/// Folds the log of $1 keys into their totals. What is added is what was deleted, by the same statement, so that each row
/// counts once, whoever else is folding; the lock only saves two of them the same work.
///
/// A key whose total would not fit into 64 bits stays in the log until it does, and holds up no other. Rows are locked in
/// the same order as by everybody else. Key by key, so that it looks at no more of a long log than it folds.
const FOLD: &str = "
    with turn as materialized (
        select pg_try_advisory_xact_lock($2) as mine
    ), fits as materialized (
        select key from (select distinct key from counter_log order by key) as logged
        cross join lateral (select sum(delta) as delta from counter_log where key = logged.key) as added
        left join lateral (select value from counters where key = logged.key) as total on true
        where (select mine from turn)
          and delta between -9223372036854775808 and 9223372036854775807
          and delta + coalesce(value, 0) between -9223372036854775808 and 9223372036854775807
        limit $1
    ), gone as (
        delete from counter_log using fits where counter_log.key = fits.key returning counter_log.key, delta
    ), folded as (
        insert into counters (key, value)
        select key, sum(delta) from gone group by key order by key
        on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value
    )
    select count(*) from fits";

/// How a batch is written.
pub(crate) struct Append;

impl WriteBatch<String, Sum<i64>> for Append {
    async fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        Ok(transaction.batch_execute(SETUP).await?)
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<String, Sum<i64>>,
    ) -> Result<Vec<Rejection>, Error> {
        let (keys, deltas): (Vec<_>, Vec<_>) =
            batch.entries().iter().map(|entry| (entry.key(), entry.data().0)).unzip();
        let (instance, sequence) = (batch.id().instance as i64, batch.id().sequence as i64);
        let append = transaction.prepare_cached(APPEND).await?;
        transaction.execute(&append, &[&instance, &sequence, &keys, &deltas]).await?;
        Ok(Vec::new())
    }
}

pub(crate) async fn run(address: Address, args: &Args, listener: TcpListener) -> Ended {
    let store = PostgresStore::connect_with(address, Append, postgres::ledger()).await.map_err(cannot)?;
    let store = Arc::new(store);
    serve(Arc::clone(&store), store, args, listener).await
}

/// Folds some keys, and says whether there may be more.
async fn fold_some(store: &PostgresStore<Append>) -> Result<bool, StoreError> {
    let row = store.with_connection(async |client| {
        let fold = client.prepare_cached(FOLD).await?;
        Ok(client.query_one(&fold, &[&KEYS, &FOLD_LOCK]).await?)
    });
    Ok(row.await?.get::<_, i64>(0) == KEYS)
}

#[async_trait]
impl Counters for PostgresStore<Append> {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        postgres::read(self, TOTAL, key, batch).await
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        postgres::add(self, key, value).await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        Ok(Some(if fold_some(self).await? { Duration::ZERO } else { PAUSE }))
    }

    async fn fold_all(&self) -> Result<(), StoreError> {
        while fold_some(self).await? {}
        Ok(())
    }
}
