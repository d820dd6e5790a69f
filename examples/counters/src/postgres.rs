//! Counters and their ledger in Postgres.

mod load;
mod log_table;
mod pool;
mod replay;
mod tls;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Config;

pub(crate) use self::log_table::LOG_TABLE;
use self::pool::Pool;
use self::tls::Tls;
use crate::store::{
    Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, checked_total, describe,
};

pub(crate) type Address = Config;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    let parsed = url.parse();
    let address: Address = parsed.map_err(|error| describe("not a valid Postgres address", &error))?;
    Tls::new(&address)?;
    Ok(address)
}

/// Connects and creates what is missing. Batches are added to the totals.
pub(crate) async fn open(address: Address) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(PostgresStore::open(address, TOTALS).await?))
}

/// As `open`. Batches go to a log table, which is folded into the totals afterwards.
pub(crate) async fn open_log_table(address: Address) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(PostgresStore::open(address, LOG_TABLE).await?))
}

/// Any number that is the same in all processes: they take turns at creating the tables, because
/// `create table if not exists` alone fails when two do it at once.
const SETUP_LOCK: i64 = 0x636f_756e_7465_7273;

const SETUP: &str = "
    create table if not exists counters (key text primary key, value bigint not null);
    create table if not exists counter_writers (
        writer bigint primary key, settled_below bigint not null, seen_at timestamptz not null default now());
    create table if not exists counter_batches (
        writer bigint, sequence bigint, applied boolean not null, primary key (writer, sequence));
    create table if not exists counter_letters (
        id text primary key, replayed_at timestamptz not null default now());";

const FORGET_THE_DEAD: &str = "
    with dead as (delete from counter_writers where seen_at < now() - interval '90 days' returning writer)
    delete from counter_batches using dead where counter_batches.writer = dead.writer;
    delete from counter_letters where replayed_at < now() - interval '90 days';";

/// One statement, so that record and counters are one transaction without a round trip more, and
/// so that being cancelled cannot leave a transaction open.
///
/// `for share` waits for a `PRUNE` under way and then sees what it wrote; a plain read would see
/// the state before it. Inserting the record waits for another attempt of the same batch that is
/// still under way, such as one that was cancelled here and goes on there, and then finds what that
/// one recorded. All writers take the rows in the same order, so that they never deadlock.
///
/// Arrays and not `copy` into a temporary table: with batches of a thousand keys and the ledger, `copy`
/// took 1.0 to 1.4 times as long (topic `database` of the benchmark suite, one connection), and it
/// needs a transaction of several round trips.
const APPLY: &str = "
    with lane as (
        select writer from counter_writers where writer = $1 and settled_below <= $2 for share
    ), fresh as (
        insert into counter_batches (writer, sequence, applied) select writer, $2, true from lane
        on conflict do nothing returning sequence
    )
    insert into counters (key, value)
    select key, value from unnest($3::text[], $4::bigint[]) as delta (key, value)
    where exists (select from fresh) order by key collate \"C\"
    on conflict (key) do update set value = coalesce(counters.value, 0) + excluded.value";

/// The delete depends on the update, so that the update's lock is taken first: whoever waits for it
/// finds both done.
const PRUNE: &str = "
    with lane as (
        update counter_writers set settled_below = greatest(settled_below, $2), seen_at = now()
        where writer = $1 returning writer, settled_below
    )
    delete from counter_batches using lane
    where counter_batches.writer = lane.writer and sequence < lane.settled_below";

const READ: &str = "
    select (select value::text from counters where key = $1),
           exists (select from counter_batches where writer = $2 and sequence = $3 and applied)";

/// Where a batch goes, and where a counter is found.
pub(crate) struct Layout {
    /// What is needed besides the common tables.
    setup: &'static str,
    apply: &'static str,
    read: &'static str,
    /// Whether batches are in the log table first.
    folds: bool,
}

/// Batches are added to the totals.
const TOTALS: Layout = Layout { setup: "", apply: APPLY, read: READ, folds: false };

pub(crate) struct PostgresStore {
    pool: Pool,
    layout: Layout,
    folder: log_table::Folder,
}

impl PostgresStore {
    /// Connects and creates what is missing.
    pub(crate) async fn open(address: Address, layout: Layout) -> Result<Self, StoreError> {
        let pool = Pool::new(address)?;
        pool.lend(async |client: &mut ClientWrapper| {
            let encoding: String = client.query_one("show server_encoding", &[]).await?.get(0);
            if encoding != "UTF8" {
                let problem =
                    format!("the database's encoding is {encoding}; keys can be any text only in UTF8");
                return Err(StoreError::Unavailable(problem));
            }
            let setup = client.transaction().await?;
            setup.execute("select pg_advisory_xact_lock($1)", &[&SETUP_LOCK]).await?;
            setup.batch_execute(SETUP).await?;
            setup.batch_execute(layout.setup).await?;
            Ok(setup.commit().await?)
        })
        .await?;
        Ok(PostgresStore { pool, layout, folder: log_table::Folder::default() })
    }

    /// `None` if the ledger does not know the writer, or has settled the batch long ago.
    pub(crate) async fn try_apply(
        &self,
        batch: LedgerId,
        deltas: &Deltas<'_>,
    ) -> Result<Option<Fate>, StoreError> {
        let LedgerId { writer, sequence } = batch;
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let apply = client.prepare_cached(self.layout.apply).await?;
                match client.execute(&apply, &[&writer, &sequence, &deltas.keys, &deltas.values]).await? {
                    0 => fate(client, batch).await,
                    _ => Ok(Some(Fate::Applied)),
                }
            })
            .await
    }

    /// Makes a writer known, or keeps it so; forgets nobody.
    pub(crate) async fn enlist(&self, writer: Writer) -> Result<(), StoreError> {
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let insert = "insert into counter_writers (writer, settled_below) values ($1, 0)
                              on conflict (writer) do update set seen_at = now()";
                client.execute(insert, &[&writer]).await?;
                Ok(())
            })
            .await
    }
}

async fn fate(client: &ClientWrapper, batch: LedgerId) -> Result<Option<Fate>, StoreError> {
    let query = "select applied from counter_batches where writer = $1 and sequence = $2";
    let row = client.query_opt(query, &[&batch.writer, &batch.sequence]).await?;
    Ok(row.map(|row| if row.get(0) { Fate::Applied } else { Fate::Void }))
}

#[async_trait]
impl Store for PostgresStore {
    async fn register(&self, writer: Writer) -> Result<(), StoreError> {
        self.pool
            .lend(async |client: &mut ClientWrapper| Ok(client.batch_execute(FORGET_THE_DEAD).await?))
            .await?;
        self.enlist(writer).await
    }

    async fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        if let Some(fate) = self.try_apply(batch, deltas).await? {
            return Ok(fate);
        }
        // Forgotten as dead after 90 quiet days.
        self.register(batch.writer).await?;
        let refused = || StoreError::Unavailable(format!("the ledger refuses batch {batch}"));
        self.try_apply(batch, deltas).await?.ok_or_else(refused)
    }

    async fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let insert = "insert into counter_batches (writer, sequence, applied) values ($1, $2, false)
                              on conflict do nothing";
                client.execute(insert, &[&batch.writer, &batch.sequence]).await?;
                let forgotten = || StoreError::Unavailable(format!("batch {batch} was forgotten"));
                fate(client, batch).await?.ok_or_else(forgotten)
            })
            .await
    }

    async fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                client.execute(PRUNE, &[&writer, &settled_below]).await?;
                Ok(())
            })
            .await
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        if self.layout.folds {
            // Nobody may be there to do it later.
            self.folder.fold_all(&self.pool).await?;
        }
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let retire = "with lane as (delete from counter_writers where writer = $1 returning writer)
                              delete from counter_batches using lane
                              where counter_batches.writer = lane.writer";
                client.execute(retire, &[&writer]).await?;
                Ok(())
            })
            .await
    }

    async fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        let (writer, sequence) = batch.map(|batch| (batch.writer, batch.sequence)).unzip();
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let read = client.prepare_cached(self.layout.read).await?;
                let row = client.query_one(&read, &[&key, &writer, &sequence]).await?;
                let value: Option<&str> = row.get(0);
                let value = value.map(str::parse).transpose();
                let value = value.map_err(|error| StoreError::Unavailable(format!("{key:?}: {error}")))?;
                Ok(Reading { value, applied: row.get(1) })
            })
            .await
    }

    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        self.pool.lend(async |client: &mut ClientWrapper| load::load(client).await).await
    }

    async fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.pool
            .lend(async |client: &mut ClientWrapper| {
                let step = client.transaction().await?;
                let insert = "insert into counters (key, value) values ($1, 0) on conflict do nothing";
                step.execute(insert, &[&key]).await?;
                let select = "select coalesce(value, 0) from counters where key = $1 for update";
                let before = step.query_one(select, &[&key]).await?.get(0);
                let total = checked_total(key, before, value)?;
                step.execute("update counters set value = $2 where key = $1", &[&key, &total]).await?;
                Ok(step.commit().await?)
            })
            .await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        if self.layout.folds { self.folder.fold(&self.pool).await.map(Some) } else { Ok(None) }
    }

    async fn replay(&self, letters: Vec<Replay>) -> Result<Vec<Replayed>, StoreError> {
        self.pool.lend(async |client: &mut ClientWrapper| replay::replay(client, &letters).await).await
    }
}
