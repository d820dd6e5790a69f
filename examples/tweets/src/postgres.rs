//! Tweets in Postgres.

mod tls;

use std::time::Duration;

use deadpool_postgres::{ManagerConfig, Object, Pool, RecyclingMethod};
use tokio_postgres::Config;

use crate::store::{CONTENTS, CREATE, Contents, DROP, IS_USED, StoreError, used};
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

/// Recording the batch waits for another attempt of it that is still under way, and finds it there.
const ADD_ENGAGEMENT: &str = "
    with fresh as (
        insert into engagement_batches (id) values ($1) on conflict do nothing returning id
    )
    insert into users (id, name, engagement)
    select id, name, engagement
    from unnest($2::bigint[], $3::text[], $4::bigint[]) as sum (id, name, engagement)
    where exists (select from fresh) order by id
    on conflict (id) do update set engagement = users.engagement + excluded.engagement";

pub(crate) type Address = Config;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    url.parse().map_err(|error| format!("not a valid Postgres address: {error}"))
}

pub(crate) struct PostgresStore {
    pool: Pool,
}

impl PostgresStore {
    pub(crate) async fn open(mut config: Address, fresh: bool) -> Result<Self, StoreError> {
        // Without a limit a host that vanished would be waited for for minutes.
        let limit = Duration::from_secs(5);
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&limit));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&limit));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = tls::manager(config, recycling).map_err(StoreError)?;
        let pool = Pool::builder(manager).max_size(4).build();
        let store = PostgresStore { pool: pool.map_err(|error| StoreError::of(&error))? };
        let client = store.client().await?;
        if fresh {
            client.batch_execute(DROP).await.map_err(explain)?;
        }
        client.batch_execute(CREATE).await.map_err(explain)?;
        let taken = client.query_one(IS_USED, &[]).await.map_err(explain)?.get(0);
        drop(client);
        if taken { Err(used()) } else { Ok(store) }
    }

    pub(crate) async fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(WRITE).await.map_err(explain)?;
        let users: Vec<_> = rows.iter().map(|row| row.user.id).collect();
        let names: Vec<_> = rows.iter().map(|row| row.user.name.as_str()).collect();
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let originals: Vec<_> = rows.iter().map(|row| row.original).collect();
        let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
        let sentiments: Vec<_> = rows.iter().map(|row| row.sentiment).collect();
        let engagements: Vec<_> = rows.iter().map(|row| row.engagement).collect();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&users, &names, &ids, &originals, &texts, &sentiments, &engagements];
        client.execute(&statement, &values).await.map_err(explain)?;
        Ok(())
    }

    pub(crate) async fn add_engagement(&self, batch: &str, sums: &[(User, i64)]) -> Result<(), StoreError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(ADD_ENGAGEMENT).await.map_err(explain)?;
        let users: Vec<_> = sums.iter().map(|(user, _)| user.id).collect();
        let names: Vec<_> = sums.iter().map(|(user, _)| user.name.as_str()).collect();
        let engagements: Vec<_> = sums.iter().map(|(_, engagement)| *engagement).collect();
        client.execute(&statement, &[&batch, &users, &names, &engagements]).await.map_err(explain)?;
        Ok(())
    }

    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        let row = self.client().await?.query_one(CONTENTS, &[]).await.map_err(explain)?;
        Ok(Contents {
            tweets: row.get(0),
            distinct: row.get(1),
            users: row.get(2),
            engagement_of_tweets: row.get(3),
            engagement_of_users: row.get(4),
            users_in_error: row.get(5),
        })
    }

    /// A connection that is not known to be dead. A write that was given up may still be under way on
    /// it; then the next one waits its turn behind it, and finds what it wanted to store there already.
    async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| StoreError::of(&error))
    }
}

fn explain(error: tokio_postgres::Error) -> StoreError {
    StoreError::of(&error)
}
