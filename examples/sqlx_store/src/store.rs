//! Page views in Postgres, by `sqlx`: the statements of the guide, under "A ledger in SQL".

use std::cmp::Ordering;

use sqlx::{PgPool, Postgres, Transaction, query, query_as, query_scalar};
use write_behind::exactly_once::{AsyncStore, Fate, StoreError};
use write_behind::{BatchId, FlushBatch, Sum, Writer};

const SETUP: &str = "
    create table if not exists page_views (page text primary key, views bigint not null);
    create table if not exists writers (
        instance bigint primary key, gate bigint not null, epoch bigint not null,
        seen_at timestamptz not null default now());
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
        epoch: u64,
        fate: Fate,
    ) -> Result<(Fate, bool), StoreError> {
        let (instance, sequence) = (batch.instance as i64, batch.sequence as i64);
        let known = query_as("select epoch, gate from writers where instance = $1 for share");
        let known: Option<(i64, i64)> = known.bind(instance).fetch_optional(&mut **step).await?;
        let (highest, gate) = known.unwrap_or_default();
        match highest.cmp(&(epoch as i64)) {
            Ordering::Less => return Ok((Fate::Unregistered, false)),
            Ordering::Greater => return Ok((Fate::Superseded { by: highest as u64 }, false)),
            Ordering::Equal => {}
        }
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
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let insert = "insert into writers as old values ($1, 0, $2) on conflict (instance) do update
                      set epoch = greatest(old.epoch, excluded.epoch), seen_at = now() returning epoch";
        let insert = query_scalar(insert).bind(writer.instance as i64).bind(writer.epoch as i64);
        let highest: i64 = insert.fetch_one(&self.pool).await?;
        Ok(highest as u64)
    }

    async fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<Fate, StoreError> {
        let mut step = self.pool.begin().await?;
        let (fate, fresh) = self.record(&mut step, batch.id(), batch.epoch(), Fate::Applied).await?;
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

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        let mut step = self.pool.begin().await?;
        let (fate, fresh) = self.record(&mut step, batch, epoch, Fate::Void).await?;
        if fresh {
            step.commit().await?;
        }
        Ok(fate)
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let (instance, epoch, below) = (writer.instance as i64, writer.epoch as i64, settled_below as i64);
        let mut step = self.pool.begin().await?;
        let raise = "update writers set gate = greatest(gate, $2), seen_at = now()
                     where instance = $1 and epoch <= $3";
        query(raise).bind(instance).bind(below).bind(epoch).execute(&mut *step).await?;
        let prune = "delete from fates where instance = $1
                     and sequence < (select gate from writers where instance = $1)";
        query(prune).bind(instance).execute(&mut *step).await?;
        Ok(step.commit().await?)
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let (instance, epoch) = (writer.instance as i64, writer.epoch as i64);
        let retire = "with gone as (
                          delete from writers where instance = $1 and epoch <= $2 returning instance)
                      delete from fates as old using gone where old.instance = gone.instance";
        query(retire).bind(instance).bind(epoch).execute(&self.pool).await?;
        Ok(())
    }
}
