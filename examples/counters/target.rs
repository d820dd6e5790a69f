//! Where batches go, put together from the options.

use std::path::PathBuf;

use async_nats::ServerAddr;
use tokio_postgres::Config;

use crate::args::{Args, Database, SinkKind, nats_server, redis_client};
use crate::nats::NatsStore;
use crate::postgres::PostgresStore;
use crate::redis::RedisStore;
use crate::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// What options that go together say.
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<Config>),
    LogTable(Box<Config>),
    Redis(redis::Client),
    Nats(Box<ServerAddr>, Box<Config>),
}

impl Target {
    /// # Errors
    ///
    /// Options that do not go together, and why.
    pub(crate) fn choose(args: &Args) -> Result<Self, String> {
        let database = args.database.clone();
        if args.redis.is_some() && args.sink != SinkKind::Redis {
            return Err("--redis goes with --sink redis only".to_owned());
        }
        if args.nats.is_some() && args.sink != SinkKind::Nats {
            return Err("--nats goes with --sink nats only".to_owned());
        }
        if args.hydrate && args.sink != SinkKind::Upsert {
            return Err("--hydrate goes with --sink upsert only".to_owned());
        }
        match args.sink {
            SinkKind::Upsert => Ok(match database.unwrap_or_default() {
                Database::Sqlite(path) => Target::Sqlite(path),
                Database::Postgres(config) => Target::Postgres(config),
            }),
            SinkKind::LogTable => postgres("log-table", database).map(Target::LogTable),
            SinkKind::Redis if database.is_some() => {
                Err("--sink redis keeps the counters in --redis; there is no --database then".to_owned())
            }
            SinkKind::Redis => {
                let local = || redis_client("redis://127.0.0.1:6379");
                args.redis.clone().map_or_else(local, Ok).map(Target::Redis)
            }
            SinkKind::Nats => {
                let config = postgres("nats", database)?;
                let server = args.nats.clone().map_or_else(|| nats_server("nats://127.0.0.1:4222"), Ok)?;
                Ok(Target::Nats(Box::new(server), config))
            }
        }
    }

    /// Connects. Blocks where a file is opened: nobody is served yet.
    pub(crate) async fn open(self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Target::Sqlite(path) => Box::new(SqliteStore::open(&path)?),
            Target::Postgres(config) => Box::new(PostgresStore::open(*config).await?),
            Target::LogTable(config) => Box::new(PostgresStore::open_log_table(*config).await?),
            Target::Redis(client) => Box::new(RedisStore::open(client).await?),
            Target::Nats(server, config) => Box::new(NatsStore::open(*server, *config).await?),
        })
    }
}

fn postgres(sink: &str, database: Option<Database>) -> Result<Box<Config>, String> {
    match database {
        Some(Database::Postgres(config)) => Ok(config),
        _ => Err(format!("--sink {sink} needs --database postgres://user@host/name")),
    }
}
