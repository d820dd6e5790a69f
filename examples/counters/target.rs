//! Where batches go, put together from the options.

use std::path::PathBuf;

use tokio_postgres::Config;

use crate::args::{Args, Database, SinkKind};
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// What options that go together say.
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<Config>),
    LogTable(Box<Config>),
}

impl Target {
    /// # Errors
    ///
    /// Options that do not go together, and why.
    pub(crate) fn choose(args: &Args) -> Result<Self, String> {
        let database = args.database.clone();
        match args.sink {
            SinkKind::Upsert => Ok(match database.unwrap_or_default() {
                Database::Sqlite(path) => Target::Sqlite(path),
                Database::Postgres(config) => Target::Postgres(config),
            }),
            SinkKind::LogTable => postgres("log-table", database).map(Target::LogTable),
        }
    }

    /// Connects. Blocks where a file is opened: nobody is served yet.
    pub(crate) async fn open(self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Target::Sqlite(path) => Box::new(SqliteStore::open(&path)?),
            Target::Postgres(config) => Box::new(PostgresStore::open(*config).await?),
            Target::LogTable(config) => Box::new(PostgresStore::open_log_table(*config).await?),
        })
    }
}

fn postgres(sink: &str, database: Option<Database>) -> Result<Box<Config>, String> {
    match database {
        Some(Database::Postgres(config)) => Ok(config),
        _ => Err(format!("--sink {sink} needs --database postgres://user@host/name")),
    }
}
