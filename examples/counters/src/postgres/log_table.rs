//! The log table: a flush appends its deltas, and they are folded into the totals afterwards.
//!
//! Appending touches no row that anybody else does, so that popular keys make no queue of processes,
//! and it never overflows. A total is what has been folded and what is in the log, read in one
//! statement. The ledger is written with the append, and stays when the log's rows are folded away.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::Mutex;

use super::Layout;
use super::pool::Pool;
use crate::store::StoreError;

/// Batches go to the log.
pub(crate) const LOG_TABLE: Layout = Layout { setup: SETUP, apply: APPEND, read: READ, folds: true };

/// How many keys one statement folds.
const KEYS: i64 = 1_000;
/// How long to wait when all keys have been looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// Any number that is the same in all processes: one of them folds at a time.
const FOLD_LOCK: i64 = 0x666f_6c64;

const SETUP: &str = "
    create table if not exists counter_log (
        key text, writer bigint, sequence bigint, delta bigint not null, primary key (key, writer, sequence))";

/// One statement, with the ledger's locks as when a batch is added to the totals.
const APPEND: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    ), fresh as (
        insert into counter_batches (writer, sequence, applied) select writer, $2, true from lane
        on conflict do nothing returning writer, sequence
    )
    insert into counter_log (key, writer, sequence, delta)
    select key, writer, sequence, value from fresh, unnest($3::text[], $4::bigint[]) as delta (key, value)";

/// As text: totals and the log together may be more than 64 bits.
const READ: &str = "
    select case when total is null and logged is null then null
                else (coalesce(total, 0) + coalesce(logged, 0))::text end,
           exists (select from counter_batches where writer = $2 and sequence = $3 and applied)
    from (select (select value from counters where key = $1) as total,
                 (select sum(delta) from counter_log where key = $1) as logged) as both_parts";

/// Folds the keys that come after $1. What is added is what was deleted, by the same statement, so
/// that each row counts once, whoever else is folding; the lock only saves two of them the same work.
///
/// A key whose total would not fit into 64 bits stays in the log until it does. Rows are locked in the
/// same order as by everybody else.
const FOLD: &str = "
    with turn as materialized (
        select pg_try_advisory_xact_lock($3) as mine
    ), chunk as materialized (
        select distinct key from counter_log
        where key > $1 and (select mine from turn) order by key limit $2
    ), fits as (
        select key from counter_log join chunk using (key) left join counters using (key)
        group by key, value
        having sum(delta) between -9223372036854775808 and 9223372036854775807
           and sum(delta) + coalesce(value, 0) between -9223372036854775808 and 9223372036854775807
    ), gone as (
        delete from counter_log using fits where counter_log.key = fits.key returning counter_log.key, delta
    ), folded as (
        insert into counters (key, value)
        select key, sum(delta) from gone group by key order by key collate \"C\"
        on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value
    )
    select count(*), max(key) from chunk";

/// Walks through the keys in their order, a chunk at a time, so that those that must stay hold up no
/// others.
#[derive(Default)]
pub(super) struct Folder {
    /// Guards the last key of the chunk before, empty at the beginning, for the whole of a step.
    after: Mutex<String>,
}

impl Folder {
    /// Folds a chunk, and says when it is time for the next.
    pub(super) async fn fold(&self, pool: &Pool) -> Result<Duration, StoreError> {
        let mut after = self.after.lock().await;
        *after = fold_chunk(pool, &after).await?;
        Ok(if after.is_empty() { PAUSE } else { Duration::ZERO })
    }

    /// Folds what was in the log at the call, unless another process is at it.
    pub(super) async fn fold_all(&self, pool: &Pool) -> Result<(), StoreError> {
        let mut after = self.after.lock().await;
        *after = fold_chunk(pool, "").await?;
        while !after.is_empty() {
            *after = fold_chunk(pool, &after).await?;
        }
        Ok(())
    }
}

/// Returns the last key of the chunk; empty after the last chunk.
async fn fold_chunk(pool: &Pool, after: &str) -> Result<String, StoreError> {
    pool.lend(async |client: &mut ClientWrapper| {
        let fold = client.prepare_cached(FOLD).await?;
        let row = client.query_one(&fold, &[&after, &KEYS, &FOLD_LOCK]).await?;
        let last: Option<String> = row.get(1);
        Ok(last.filter(|_| row.get::<_, i64>(0) == KEYS).unwrap_or_default())
    })
    .await
}
