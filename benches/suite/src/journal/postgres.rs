//! Postgres: a server of our own, or the one that `WRITE_BEHIND_BENCH_POSTGRES` names, as for `database`.

use test_servers::PostgresServer;
use tokio_postgres::{Client, Error, NoTls, Statement};

use crate::database::given_postgres;
use crate::scale::Scale;

const SETUP: &str = "
    drop schema if exists write_behind_bench cascade;
    create schema write_behind_bench;
    create table write_behind_bench.sums (key bigint primary key, total bigint not null)";

const CLEAN_UP: &str = "drop schema write_behind_bench cascade";

const UPSERT: &str = "
    insert into write_behind_bench.sums (key, total) values ($1, 1)
    on conflict (key) do update set total = sums.total + excluded.total";

/// One that can be asked.
pub(super) struct Postgres {
    url: String,
    /// Stopped when it is dropped.
    _server: Option<PostgresServer>,
}

impl Postgres {
    /// `None`, and a line that says so, where there is none.
    pub(super) fn find(scale: Scale) -> Option<Self> {
        let (url, server) = given_postgres(scale)?;
        Some(Postgres { url, _server: server })
    }

    /// Makes an empty table. It is gone with [`clean_up`](Self::clean_up).
    pub(super) async fn set_up(&self) -> Result<Connection, Error> {
        let client = self.client().await?;
        client.batch_execute(SETUP).await?;
        // Not everybody may; it keeps what was written before from being paid for now.
        let _ = client.batch_execute("checkpoint").await;
        self.connect().await
    }

    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let client = self.client().await?;
        client.execute("set synchronous_commit = on", &[]).await?;
        let upsert = client.prepare(UPSERT).await?;
        Ok(Connection { client, upsert })
    }

    async fn client(&self) -> Result<Client, Error> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Removes the table; says how many rows it had.
    pub(super) async fn clean_up(&self) -> Result<u64, Error> {
        let client = self.client().await?;
        let rows: i64 = client.query_one("select count(*) from write_behind_bench.sums", &[]).await?.get(0);
        client.batch_execute(CLEAN_UP).await?;
        Ok(rows as u64)
    }
}

pub(super) struct Connection {
    client: Client,
    upsert: Statement,
}

impl Connection {
    /// A transaction of its own.
    pub(super) async fn add(&self, key: u64) -> Result<(), Error> {
        self.client.execute(&self.upsert, &[&(key as i64)]).await?;
        Ok(())
    }
}
