//! Tweets in SQLite. Its calls block, so they run on threads for that.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::store::{CONTENTS, CREATE, Contents, DROP, IS_USED, StoreError, used};
use crate::tweet::{Row, User};

const INSERT_USER: &str =
    "insert into users (id, name, engagement) values (?1, ?2, 0) on conflict do nothing";
const INSERT_TWEET: &str = "
    insert into tweets (id, user_id, original, text, sentiment, engagement)
    values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing";
const INSERT_BATCH: &str = "insert into engagement_batches (id) values (?1) on conflict do nothing";
const ADD: &str = "
    insert into users (id, name, engagement) values (?1, ?2, ?3)
    on conflict (id) do update set engagement = engagement + excluded.engagement";

pub(crate) struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteStore {
    pub(crate) async fn open(path: &Path, fresh: bool) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|error| StoreError::of(&error))?;
        let store = SqliteStore { connection: Arc::new(Mutex::new(connection)) };
        let taken = store.with(move |connection| {
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            if fresh {
                connection.execute_batch(DROP)?;
            }
            connection.execute_batch(CREATE)?;
            connection.query_row(IS_USED, (), |row| row.get(0))
        });
        if taken.await? { Err(used()) } else { Ok(store) }
    }

    pub(crate) async fn write(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            {
                let mut user = transaction.prepare_cached(INSERT_USER)?;
                let mut tweet = transaction.prepare_cached(INSERT_TWEET)?;
                for row in &rows {
                    user.execute((row.user.id, &row.user.name))?;
                    tweet.execute((
                        row.id,
                        row.user.id,
                        row.original,
                        &row.text,
                        row.sentiment,
                        row.engagement,
                    ))?;
                }
            }
            transaction.commit()
        };
        self.with(work).await
    }

    pub(crate) async fn add_engagement(
        &self,
        batch: String,
        sums: Vec<(User, i64)>,
    ) -> Result<(), StoreError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            if transaction.execute(INSERT_BATCH, (batch,))? == 1 {
                let mut add = transaction.prepare_cached(ADD)?;
                for (user, engagement) in &sums {
                    add.execute((user.id, &user.name, engagement))?;
                }
            }
            transaction.commit()
        };
        self.with(work).await
    }

    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Contents {
                tweets: row.get(0)?,
                distinct: row.get(1)?,
                users: row.get(2)?,
                engagement_of_tweets: row.get(3)?,
                engagement_of_users: row.get(4)?,
                users_in_error: row.get(5)?,
            })
        };
        self.with(move |connection| connection.query_row(CONTENTS, (), read)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        let result = tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::of(&error))?;
        result.map_err(|error| StoreError::of(&error))
    }
}
