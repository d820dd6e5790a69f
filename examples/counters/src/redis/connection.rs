//! The connection to Redis: shared by everybody, made anew when it has failed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};

use crate::store::{StoreError, describe};

/// How long to wait for a connection, and for an answer.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    client: Client,
    /// Guards the connection that is in use.
    current: Mutex<Option<MultiplexedConnection>>,
}

impl Connection {
    /// Does not connect yet.
    pub(super) fn new(client: Client) -> Self {
        Connection { client, current: Mutex::new(None) }
    }

    /// Asks Redis something. May be dropped while it waits: then it may be done or not.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.current() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut unanswered = Unanswered(Some(self));
        let answer = question(&mut connection).await?;
        unanswered.0 = None;
        Ok(answer)
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    fn current(&self) -> Option<MultiplexedConnection> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A question that failed or was given up half-way: the connection may be broken, or stuck.
struct Unanswered<'a>(Option<&'a Connection>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            *connection.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// What Redis itself refuses (loading, no memory, disk full, not the master any more) is no key's
/// fault; the scripts tell apart what is.
impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        StoreError::Unavailable(describe("Redis", &error))
    }
}
