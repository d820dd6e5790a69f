//! Page views in Postgres, by `sqlx`: the statements of the guide, under "A ledger in SQL".

use sqlx::{PgPool, Postgres, Transaction, query, query_scalar};
use write_behind::exactly_once::{AsyncStore, Fate, StoreError};
use write_behind::{BatchId, FlushBatch, Sum};

const SETUP: &str = "
    create table if not exists page_views (page text primary key, views bigint not null);
    create table if not exists writers (
        instance bigint primary key, gate bigint not null, seen_at timestamptz not null default now());
    create table if not exists fates (
        instance bigint, sequence bigint, fate text not null, primary key (instance, sequence));";

pub(crate) struct PageViews {
    pool: PgPool,
}

impl PageViews {
    pub(crate) async fn new(pool: PgPool) -> sqlx::Result<Self> {
        sqlx::raw_sql(SETUP).execute(&pool).await?;
        Ok(PageViews { pool })
    }

    /// Records a fate, unless the ledger says otherwise: then that is the answer, and nothing was done.
    async fn record(
        &self,
        step: &mut Transaction<'_, Postgres>,
        batch: BatchId,
        fate: Fate,
    ) -> Result<(Fate, bool), StoreError> {
        let (instance, sequence) = (batch.instance as i64, batch.sequence as i64);
        let gate = query_scalar("select gate from writers where instance = $1 for share");
        let gate: Option<i64> = gate.bind(instance).fetch_optional(&mut **step).await?;
        let Some(gate) = gate else { return Ok((Fate::Unregistered, false)) };
        let insert = "insert into fates values ($1, $2, $3) on conflict do nothing";
        let insert = query(insert).bind(instance).bind(sequence).bind(fate.to_string());
        if insert.execute(&mut **step).await?.rows_affected() == 0 {
            let recorded = query_scalar("select fate from fates where instance = $1 and sequence = $2");
            let recorded: String = recorded.bind(instance).bind(sequence).fetch_one(&mut **step).await?;
            return Ok((recorded.parse()?, false));
        }
        Ok(if sequence < gate { (Fate::Settled, false) } else { (fate, true) })
    }
}

/// Certain is only what the server has said of a transaction. Everything else is unknown, by `?`.
fn classify(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|answer| answer.code()).unwrap_or_default().into_owned();
    match code.get(..2) {
        Some("22" | "23" | "54") => StoreError::rejected(error),
        Some("40") => StoreError::rolled_back(error),
        _ => StoreError::unknown(error),
    }
}

impl AsyncStore<String, Sum<i64>> for PageViews {
    async fn register(&self, instance: u64) -> Result<(), StoreError> {
        let insert =
            "insert into writers values ($1, 0) on conflict (instance) do update set seen_at = now()";
        query(insert).bind(instance as i64).execute(&self.pool).await?;
        Ok(())
    }

    async fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<Fate, StoreError> {
        let mut step = self.pool.begin().await?;
        let (fate, fresh) = self.record(&mut step, batch.id(), Fate::Applied).await?;
        if !fresh {
            return Ok(fate); // rolled back
        }
        let (mut pages, mut views) = (Vec::new(), Vec::new());
        for entry in batch.sorted() {
            pages.push(entry.key().clone());
            views.push(entry.data().0);
        }
        let upsert = "insert into page_views as old select * from unnest($1::text[], $2::bigint[])
                      on conflict (page) do update set views = old.views + excluded.views";
        query(upsert).bind(pages).bind(views).execute(&mut *step).await.map_err(classify)?;
        step.commit().await.map_err(classify)?;
        Ok(fate)
    }

    async fn void(&self, batch: BatchId) -> Result<Fate, StoreError> {
        let mut step = self.pool.begin().await?;
        let (fate, fresh) = self.record(&mut step, batch, Fate::Void).await?;
        if fresh {
            step.commit().await?;
        }
        Ok(fate)
    }

    async fn prune(&self, instance: u64, settled_below: u64) -> Result<(), StoreError> {
        let (instance, below) = (instance as i64, settled_below as i64);
        let mut step = self.pool.begin().await?;
        let raise = "update writers set gate = greatest(gate, $2), seen_at = now() where instance = $1";
        query(raise).bind(instance).bind(below).execute(&mut *step).await?;
        let prune = "delete from fates where instance = $1
                     and sequence < (select gate from writers where instance = $1)";
        query(prune).bind(instance).execute(&mut *step).await?;
        Ok(step.commit().await?)
    }

    async fn retire(&self, instance: u64) -> Result<(), StoreError> {
        let mut step = self.pool.begin().await?;
        for table in ["writers", "fates"] {
            let delete = format!("delete from {table} where instance = $1");
            query(&delete).bind(instance as i64).execute(&mut *step).await?;
        }
        Ok(step.commit().await?)
    }
}
