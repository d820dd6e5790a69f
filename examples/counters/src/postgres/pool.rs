//! Connections to Postgres: lent to one piece of work at a time, and stopped when it is cancelled.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, ManagerConfig, Object, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::Config;
use tokio_postgres::error::{DbError, Severity};

use super::tls::Tls;
use crate::store::{StoreError, describe};

/// How many connections there are at most, those included that are being stopped.
const CONNECTIONS: usize = 16;
/// How long to wait for the network, for a new connection, and for one that is free.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    tls: Tls,
}

impl Pool {
    /// Does not connect yet.
    pub(super) fn new(mut config: Config) -> Result<Self, StoreError> {
        // Without limits a host that vanished would be waited for for a quarter of an hour.
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&LIMIT));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&LIMIT));
        config.keepalives_idle(LIMIT).keepalives_interval(LIMIT).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("counters");
        }
        // Connections that broke while nobody used them are noticed without asking the server.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let tls = Tls::new(&config).map_err(StoreError::Unavailable)?;
        let pool = deadpool_postgres::Pool::builder(tls.manager(config, recycling))
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(LIMIT))
            .create_timeout(Some(LIMIT))
            .post_create(Hook::async_fn(|client, _| Box::pin(set_up(client))))
            .build();
        let connections = pool.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Pool { connections, tls })
    }

    /// Lends a connection. May be dropped while it waits: then what it waited for may be done or not.
    pub(super) async fn lend<T>(
        &self,
        work: impl AsyncFnOnce(&mut ClientWrapper) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = Lent { connection: None, tls: &self.tls };
        let result = work(lent.connection.insert(self.connections.get().await?)).await;
        let connection = lent.connection.take();
        if let Err(StoreError::Unavailable(_)) = result {
            // It may be broken, and not know it yet: closed and not given back.
            drop(connection.map(Object::take));
        }
        result
    }
}

async fn set_up(client: &ClientWrapper) -> Result<(), HookError> {
    // The statements rely on seeing, after a wait, what was waited for.
    let set = client.batch_execute("set default_transaction_isolation to 'read committed'");
    set.await.map_err(HookError::Backend)
}

/// A connection at work; nothing once the work has come to its end.
struct Lent<'a> {
    connection: Option<Object>,
    tls: &'a Tls,
}

/// The work was dropped half-way: by the flush timeout, by shutdown's deadline, or because an HTTP
/// client went away. Its statement goes on at the server, and whoever used the connection next
/// would wait behind it.
impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(stop(connection, self.tls.clone()));
        }
    }
}

/// Has the server cancel what a connection is doing, and closes it. The connection keeps its place
/// in the pool until then, so that work that is given up again and again, behind a lock that
/// somebody holds, does not pile up at the server.
async fn stop(connection: Object, tls: Tls) {
    // Where these fail there is nothing left to stop.
    let _ = tls.cancel(connection.cancel_token()).await;
    // Answered when all that was sent before has come to its end.
    let _ = connection.batch_execute("").await;
    // Not to be used again: the cancellation may still be on its way and would hit another statement.
    drop(Object::take(connection));
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::Timeout(_) => {
                StoreError::Unavailable(format!("Postgres: no free connection within {LIMIT:?}"))
            }
            error => StoreError::Unavailable(format!("Postgres: {error}")),
        }
    }
}

/// Decides by SQLSTATE who is to blame. Only errors that a key of the batch, or the batch's size,
/// can have caused are told apart: for all others (connection refused, server shutting down, disk
/// full, read-only standby) the batch must stay whole, or an outage would grind it to single keys.
impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let answer = error.as_db_error().filter(|answer| rolled_back(answer));
        let class = answer.map(|answer| &answer.code().code()[..2]);
        let text = describe("Postgres", &error);
        match class {
            // Data exception, integrity constraint, program limit.
            Some("22" | "23" | "54") => StoreError::Data(text),
            // Deadlock, serialization failure.
            Some("40") => StoreError::Contended(text),
            _ => StoreError::Unavailable(text),
        }
    }
}

/// A server that gives up the connection does not always say what became of the transaction.
fn rolled_back(answer: &DbError) -> bool {
    matches!(answer.parsed_severity(), Some(Severity::Error))
}
