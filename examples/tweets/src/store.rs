//! The two linked tables, in SQLite or Postgres.
//!
//! What is sent twice, because an answer was lost, counts once: a tweet is recognised by its id, a
//! batch of engagement by `ExactlyOnce`. Both kinds of write create the users that they need, so it does
//! not matter which comes first.

use std::path::Path;
use std::sync::Arc;

use write_behind::exactly_once::{ExactlyOnce, OnThreads};
use write_behind::{BuildError, Builder, Sum, SummingBuffer};

use crate::args::Database;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::tweet::{Row, User};

pub(crate) enum Store {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Why the database did not do it, or did not say so.
pub(crate) type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// What the tables say.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) tweets: i64,
    pub(crate) distinct: i64,
    pub(crate) users: i64,
    pub(crate) engagement_of_tweets: i64,
    pub(crate) engagement_of_users: i64,
    /// Users whose engagement is not the sum of their tweets'.
    pub(crate) users_in_error: i64,
}

/// Understood by both databases.
pub(crate) const CREATE: &str = "
    create table if not exists users (
        id bigint primary key, name text not null, engagement bigint not null);
    create table if not exists tweets (
        id bigint primary key, user_id bigint not null references users, original bigint,
        text text not null, sentiment bigint not null, engagement bigint not null);";

pub(crate) const DROP: &str = "
    drop table if exists tweets;
    drop table if exists users;";

/// What the tables of the ledger begin with.
pub(crate) const LEDGER: &str = "engagement";

pub(crate) const IS_USED: &str = "select exists (select 1 from users)";

pub(crate) const CONTENTS: &str = "
    select (select count(*) from tweets), (select count(distinct id) from tweets),
           (select count(*) from users),
           (select cast(coalesce(sum(engagement), 0) as bigint) from tweets),
           (select cast(coalesce(sum(engagement), 0) as bigint) from users),
           (select count(*) from users
               left join (select user_id, sum(engagement) as total from tweets group by user_id) as theirs
               on user_id = id where engagement <> coalesce(total, 0))";

impl Store {
    /// Creates what is missing, or everything if `fresh`. `scratch` is used if no database is named.
    pub(crate) async fn open(
        database: Option<&Database>,
        scratch: &Path,
        fresh: bool,
    ) -> Result<Self, StoreError> {
        match database {
            None => Sqlite::open(scratch, fresh).map(Store::Sqlite),
            Some(Database::Sqlite(path)) => Sqlite::open(path, fresh).map(Store::Sqlite),
            Some(Database::Postgres(config)) => {
                Postgres::open((**config).clone(), fresh).await.map(Store::Postgres)
            }
        }
    }

    /// Stores tweets and their users, as far as they are not there.
    pub(crate) async fn write(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(store) => store.write(rows).await,
            Store::Postgres(store) => store.write(&rows).await,
        }
    }

    /// Starts the buffer that adds to the users' engagement.
    pub(crate) fn start_engagement(
        &self,
        builder: Builder<User, Sum<i64>>,
    ) -> Result<SummingBuffer<User, i64>, BuildError> {
        match self {
            Store::Sqlite(store) => {
                builder.start_async(ExactlyOnce::new(OnThreads::new(Arc::clone(&store.engagement))))
            }
            Store::Postgres(store) => store.start_engagement(builder),
        }
    }

    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        match self {
            Store::Sqlite(store) => store.contents().await,
            Store::Postgres(store) => store.contents().await,
        }
    }
}

/// What to tell somebody who starts on a used database.
pub(crate) fn used() -> StoreError {
    "there are tweets of an earlier run in it; drop them with --fresh, or name another".into()
}
