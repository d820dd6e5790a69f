//! The connection to Redis: shared by everybody, made anew when it has failed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

use crate::error::Error;

/// How long to wait for a connection, and for an answer.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Connection {
    client: Client,
    /// Guards the connection that is in use.
    current: Mutex<Option<MultiplexedConnection>>,
}

impl Connection {
    /// Does not connect yet.
    pub(crate) fn new(client: Client) -> Self {
        Connection { client, current: Mutex::new(None) }
    }

    /// A connection for one question, and what drops it for all should the question fail.
    pub(crate) async fn lend(&self) -> Result<Lent<'_>, Error> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = match current {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lent { connection, home: Some(self) })
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }
}

pub(crate) struct Lent<'a> {
    pub(crate) connection: MultiplexedConnection,
    home: Option<&'a Connection>,
}

impl Lent<'_> {
    /// It was answered.
    pub(crate) fn answered<T>(mut self, answer: RedisResult<T>) -> Result<T, Error> {
        let answer = answer?;
        self.home = None;
        Ok(answer)
    }
}

/// A question that failed or was given up half-way: the connection may be broken, or stuck.
impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home {
            *home.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}
