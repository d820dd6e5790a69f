//! The tables, seen past the service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use test_servers::PostgresServer;

use crate::service::Home;

/// A database and how a service is told to use it.
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Box<PostgresServer>),
}

impl Database {
    pub(crate) fn sqlite(home: &Home) -> Self {
        Database::Sqlite(home.path("counters.sqlite"))
    }

    pub(crate) fn postgres() -> Option<Self> {
        PostgresServer::start().map(Box::new).map(Database::Postgres)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Database::Sqlite(path) => format!("sqlite:{}", path.display()),
            Database::Postgres(server) => server.url(),
        }
    }

    /// All counters.
    pub(crate) fn counters(&self) -> BTreeMap<String, i64> {
        let query = "select key, value from counters";
        match self {
            Database::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(query).unwrap();
                let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.collect::<Result<_, _>>().unwrap()
            }
            Database::Postgres(server) => {
                let rows = server.client().query(query);
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        }
    }

    /// How many rows a table of the ledger has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        let query = format!("select count(*) from {table}");
        match self {
            Database::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.query_row(&query, (), |row| row.get(0)).unwrap()
            }
            Database::Postgres(server) => server.client().number(&query),
        }
    }
}

/// Runs a test against each database there is.
pub(crate) fn with_each_database(test: impl Fn(&Home, &Database)) {
    let home = Home::new();
    test(&home, &Database::sqlite(&home));
    if let Some(postgres) = Database::postgres() {
        test(&Home::new(), &postgres);
    }
}
