//! Connections: lent to one piece of work at a time, and closed when it is cancelled or fails.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio_postgres::Config;

use crate::error::{Blame, Error};
use crate::tls::Tls;

/// How many connections there are at most, those included that are being stopped.
const CONNECTIONS: usize = 16;
/// How long to wait for the network, for a new connection, and for one that is free.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Connections {
    pub(crate) pool: Pool,
    /// How to have the server cancel a statement. `None` with a pool of somebody else's: nobody says how it
    /// connects.
    tls: Option<Tls>,
}

impl Connections {
    /// Does not connect yet.
    pub(crate) fn new(mut config: Config) -> Result<Self, Error> {
        // Without limits a host that vanished would be waited for for a quarter of an hour.
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&LIMIT));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&LIMIT));
        config.keepalives_idle(LIMIT).keepalives_interval(LIMIT).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("write-behind");
        }
        // Connections that broke while nobody used them are noticed without asking the server.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let tls = Tls::new(&config)?;
        let pool = Pool::builder(tls.manager(config, recycling))
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(LIMIT))
            .create_timeout(Some(LIMIT))
            .post_create(Hook::async_fn(|client, _| Box::pin(set_up(client))))
            .build();
        let pool = pool.map_err(|error| Error::Pool(error.to_string()))?;
        Ok(Connections { pool, tls: Some(tls) })
    }

    pub(crate) fn of(pool: Pool) -> Self {
        Connections { pool, tls: None }
    }

    pub(crate) async fn lend(&self) -> Result<Lent<'_>, Error> {
        Ok(Lent { connection: Some(self.pool.get().await?), tls: self.tls.as_ref() })
    }
}

async fn set_up(client: &ClientWrapper) -> Result<(), HookError> {
    let set = client.batch_execute("set default_transaction_isolation to 'read committed'");
    set.await.map_err(HookError::Backend)
}

/// A connection at work.
pub(crate) struct Lent<'a> {
    /// Nothing once the work has come to its end.
    connection: Option<Object>,
    tls: Option<&'a Tls>,
}

impl Lent<'_> {
    /// The work has come to this end.
    pub(crate) fn give_back<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        let connection = self.connection.take();
        if matches!(&result, Err(error) if error.blame() == Blame::Unknown) {
            // It may be broken and not know it yet: closed and not given back.
            drop(connection.map(Object::take));
        }
        result
    }
}

impl Deref for Lent<'_> {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.connection.as_ref().expect("it is there until it is given back")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        self.connection.as_mut().expect("it is there until it is given back")
    }
}

/// The work was dropped half-way, by the flush timeout or at the end. Its statement goes on at the server, and
/// whoever used the connection next would wait behind it.
impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match (self.tls, tokio::runtime::Handle::try_current()) {
            (Some(tls), Ok(runtime)) => drop(runtime.spawn(stop(connection, tls.clone()))),
            // Closed: what is under way may still be done, which the ledger knows how to deal with.
            _ => drop(Object::take(connection)),
        }
    }
}

/// Has the server cancel what a connection is doing, and closes it. The connection keeps its place in the pool until
/// then, so that work that is given up again and again, behind a lock that somebody holds, does not pile up at the
/// server.
async fn stop(connection: Object, tls: Tls) {
    // Where these fail there is nothing left to stop.
    let _ = tls.cancel(connection.cancel_token()).await;
    // Answered when all that was sent before has come to its end.
    let _ = connection.batch_execute("").await;
    // Not to be used again: the cancellation may still be on its way and would hit another statement.
    drop(Object::take(connection));
}
