//! Where batches go, put together from the options.

use std::path::{Path, PathBuf};

use crate::args::{Args, Database, SinkKind};
use crate::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::{nats, postgres, redis};

/// What options that go together say.
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
    LogTable(Box<postgres::Address>),
    Redis(redis::Address),
    Nats(Box<nats::Address>, Box<postgres::Address>),
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
            SinkKind::Upsert => Ok(match database {
                None => Target::Sqlite(args.data.join("counters.sqlite")),
                Some(Database::Sqlite(path)) => Target::Sqlite(path),
                Some(Database::Postgres(address)) => Target::Postgres(address),
            }),
            SinkKind::LogTable => in_postgres("log-table", database).map(Target::LogTable),
            SinkKind::Redis if database.is_some() => {
                Err("--sink redis keeps the counters in --redis; there is no --database then".to_owned())
            }
            SinkKind::Redis => {
                let local = || redis::address("redis://127.0.0.1:6379");
                args.redis.clone().map_or_else(local, Ok).map(Target::Redis)
            }
            SinkKind::Nats => {
                let local = || nats::address("nats://127.0.0.1:4222");
                let server = args.nats.clone().map_or_else(local, Ok)?;
                Ok(Target::Nats(Box::new(server), in_postgres("nats", database)?))
            }
        }
    }

    /// Whether this is a file in a folder.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        matches!(self, Target::Sqlite(path) if path.starts_with(folder))
    }

    /// Connects. Blocks where a file is opened: nobody is served yet.
    pub(crate) async fn open(self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Target::Sqlite(path) => Box::new(SqliteStore::open(&path)?),
            Target::Postgres(address) => postgres::open(*address).await?,
            Target::LogTable(address) => postgres::open_log_table(*address).await?,
            Target::Redis(address) => redis::open(address).await?,
            Target::Nats(server, address) => nats::open(*server, *address).await?,
        })
    }
}

fn in_postgres(sink: &str, database: Option<Database>) -> Result<Box<postgres::Address>, String> {
    const EXAMPLE: &str = "postgres://user@host/name";
    match database {
        Some(Database::Postgres(address)) => Ok(address),
        // If no address is of use here, that comes first.
        _ => postgres::address(EXAMPLE).and(Err(format!("--sink {sink} needs --database {EXAMPLE}"))),
    }
}
