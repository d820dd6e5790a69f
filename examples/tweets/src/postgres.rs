//! Tweets in Postgres.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use write_behind::exactly_once::{ExactlyOnce, Rejection};
use write_behind::{BuildError, Builder, FlushBatch, Sum, SummingBuffer};
use write_behind_postgres::{Error, Ledger, PostgresStore, WriteBatch};

use crate::store::{CONTENTS, CREATE, Contents, DROP, IS_USED, LEDGER, StoreError, used};
use crate::tweet::{Row, User};

/// One statement, so that users and tweets are one transaction without a round trip more. Users are
/// taken in the order of their ids, here and below, so that two such statements never deadlock.
const WRITE: &str = "
    with author as (
        insert into users (id, name, engagement)
        select distinct id, name, 0 from unnest($1::bigint[], $2::text[]) as author (id, name) order by id
        on conflict do nothing
    )
    insert into tweets (id, user_id, original, text, sentiment, engagement)
    select * from unnest($3::bigint[], $1, $4::bigint[], $5::text[], $6::bigint[], $7::bigint[])
    on conflict do nothing";

const ADD: &str = "
    insert into users (id, name, engagement)
    select id, name, engagement
    from unnest($1::bigint[], $2::text[], $3::bigint[]) as sum (id, name, engagement) order by id
    on conflict (id) do update set engagement = users.engagement + excluded.engagement";

pub(crate) type Address = Config;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    let address: Config = url.parse().map_err(|error| format!("not a valid Postgres address: {error}"))?;
    if address.get_ssl_mode() == SslMode::Require && cfg!(not(feature = "tls")) {
        return Err("this build has no TLS: build it with `--features tls`".to_owned());
    }
    Ok(address)
}

/// How a batch of engagement is written.
struct Add {
    fresh: bool,
}

impl WriteBatch<User, Sum<i64>> for Add {
    async fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        if self.fresh {
            transaction.batch_execute(DROP).await?;
        }
        Ok(transaction.batch_execute(CREATE).await?)
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<User, Sum<i64>>,
    ) -> Result<Vec<Rejection>, Error> {
        let users: Vec<_> = batch.entries().iter().map(|entry| entry.key().id).collect();
        let names: Vec<_> = batch.entries().iter().map(|entry| entry.key().name.as_str()).collect();
        let engagements: Vec<_> = batch.entries().iter().map(|entry| entry.data().0).collect();
        let add = transaction.prepare_cached(ADD).await?;
        transaction.execute(&add, &[&users, &names, &engagements]).await?;
        Ok(Vec::new())
    }
}

pub(crate) struct Postgres {
    store: Arc<PostgresStore<Add>>,
}

impl Postgres {
    pub(crate) async fn open(address: Address, fresh: bool) -> Result<Self, StoreError> {
        let store = PostgresStore::connect_with(address, Add { fresh }, Ledger::new().name(LEDGER)).await?;
        let used_before =
            store.with_connection(async |client| Ok(client.query_one(IS_USED, &[]).await?.get(0)));
        if used_before.await? { Err(used()) } else { Ok(Postgres { store: Arc::new(store) }) }
    }

    pub(crate) fn start_engagement(
        &self,
        builder: Builder<User, Sum<i64>>,
    ) -> Result<SummingBuffer<User, i64>, BuildError> {
        builder.start_async(ExactlyOnce::new(Arc::clone(&self.store)))
    }

    pub(crate) async fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let users: Vec<_> = rows.iter().map(|row| row.user.id).collect();
        let names: Vec<_> = rows.iter().map(|row| row.user.name.as_str()).collect();
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let originals: Vec<_> = rows.iter().map(|row| row.original).collect();
        let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
        let sentiments: Vec<_> = rows.iter().map(|row| row.sentiment).collect();
        let engagements: Vec<_> = rows.iter().map(|row| row.engagement).collect();
        let values: [&(dyn ToSql + Sync); 7] =
            [&users, &names, &ids, &originals, &texts, &sentiments, &engagements];
        let written = self.store.with_connection(async |client| {
            let write = client.prepare_cached(WRITE).await?;
            Ok(client.execute(&write, &values).await?)
        });
        written.await?;
        Ok(())
    }

    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        let read = self.store.with_connection(async |client| Ok(client.query_one(CONTENTS, &[]).await?));
        let row = read.await?;
        Ok(Contents {
            tweets: row.get(0),
            distinct: row.get(1),
            users: row.get(2),
            engagement_of_tweets: row.get(3),
            engagement_of_users: row.get(4),
            users_in_error: row.get(5),
        })
    }
}
