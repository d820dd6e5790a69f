//! The two linked tables, in SQLite or Postgres.
//!
//! What is sent twice, because an answer was lost, counts once: a tweet is recognised by its id, a
//! batch of engagement by the batch's id, which is recorded in the same transaction. Both kinds of
//! write create the users that they need, so it does not matter which comes first.

use std::fmt::{Display, Write};
use std::path::Path;

use crate::args::Database;
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::tweet::{Row, User};

pub(crate) enum Store {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// The database did not do it, or did not say so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(pub(crate) String);

impl StoreError {
    /// An error and its causes in one line.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if !line.contains(&error.to_string()) {
                let _ = write!(line, ": {error}");
            }
            cause = error.source();
        }
        StoreError(line)
    }
}

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
        text text not null, sentiment bigint not null, engagement bigint not null);
    create table if not exists engagement_batches (id text primary key);";

pub(crate) const DROP: &str = "
    drop table if exists tweets;
    drop table if exists users;
    drop table if exists engagement_batches;";

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
            None => SqliteStore::open(scratch, fresh).await.map(Store::Sqlite),
            Some(Database::Sqlite(path)) => SqliteStore::open(path, fresh).await.map(Store::Sqlite),
            Some(Database::Postgres(config)) => {
                PostgresStore::open((**config).clone(), fresh).await.map(Store::Postgres)
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

    /// Adds to the users' engagement, unless this batch has been added already.
    pub(crate) async fn add_engagement(
        &self,
        batch: impl Display + Send,
        sums: Vec<(User, i64)>,
    ) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(store) => store.add_engagement(batch.to_string(), sums).await,
            Store::Postgres(store) => store.add_engagement(&batch.to_string(), &sums).await,
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
    StoreError("there are tweets of an earlier run in it; drop them with --fresh, or name another".to_owned())
}
