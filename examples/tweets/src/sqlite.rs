//! Tweets in SQLite. Its calls block, so they run on threads for that.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use write_behind::exactly_once::Rejection;
use write_behind::{FlushBatch, Sum};
use write_behind_sqlite::{Error, Ledger, SqliteStore, WriteBatch};

use crate::store::{CONTENTS, CREATE, Contents, DROP, IS_USED, LEDGER, StoreError, used};
use crate::tweet::{Row, User};

const INSERT_USER: &str =
    "insert into users (id, name, engagement) values (?1, ?2, 0) on conflict do nothing";
const INSERT_TWEET: &str = "
    insert into tweets (id, user_id, original, text, sentiment, engagement)
    values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing";
const ADD: &str = "
    insert into users (id, name, engagement) values (?1, ?2, ?3)
    on conflict (id) do update set engagement = engagement + excluded.engagement";

/// How a batch of engagement is written.
pub(crate) struct Add {
    fresh: bool,
}

impl WriteBatch<User, Sum<i64>> for Add {
    fn set_up(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        if self.fresh {
            transaction.execute_batch(DROP)?;
        }
        Ok(transaction.execute_batch(CREATE)?)
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        batch: &FlushBatch<User, Sum<i64>>,
    ) -> Result<Vec<Rejection>, Error> {
        let mut add = transaction.prepare_cached(ADD)?;
        for entry in batch.entries() {
            add.execute((entry.key().id, &entry.key().name, entry.data().0))?;
        }
        Ok(Vec::new())
    }
}

pub(crate) struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    pub(crate) engagement: Arc<SqliteStore<Add>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, fresh: bool) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let connection = Arc::new(Mutex::new(connection));
        let engagement = SqliteStore::on(Arc::clone(&connection), Add { fresh }, Ledger::new().name(LEDGER))?;
        let taken = lock(&connection).query_row(IS_USED, (), |row| row.get(0))?;
        if taken { Err(used()) } else { Ok(Sqlite { connection, engagement: Arc::new(engagement) }) }
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
        Ok(tokio::task::spawn_blocking(move || work(&mut lock(&connection))).await??)
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
