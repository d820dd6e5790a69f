//! A NATS server and a file of totals for one test, thrown away afterwards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use test_servers::Server;
use write_behind::Sum;
use write_behind::exactly_once::{OnThreads, StoreError};
use write_behind_nats::{BatchStream, NatsStore};
use write_behind_sqlite::{SqliteStore, Sums};

pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) type Behind = Arc<OnThreads<SqliteStore<Sums<String, Sum<i64>>>>>;
pub(crate) type Views = NatsStore<String, Sum<i64>, Behind>;

pub(crate) struct Setting {
    pub(crate) nats: Server,
    folder: TempDir,
}

impl Setting {
    /// `None` where NATS is not installed.
    pub(crate) fn new() -> Option<Self> {
        let nats = Server::start("nats-server", |port| {
            let port = port.to_string();
            ["-js", "-sd", "stream", "-a", "127.0.0.1", "-p", &port].map(str::to_owned).into()
        })?;
        Some(Setting { nats, folder: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats.port())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("views.db")
    }

    /// Totals of pages, in a file.
    pub(crate) fn behind(&self) -> Behind {
        let sums = Sums::new("views").key("page").value("views");
        Arc::new(OnThreads::new(Arc::new(SqliteStore::open(self.file(), sums).unwrap())))
    }

    pub(crate) async fn store(&self) -> Views {
        self.store_on(BatchStream::new("views")).await
    }

    pub(crate) async fn store_on(&self, stream: BatchStream) -> Views {
        NatsStore::connect(self.url(), stream, self.behind()).await.unwrap()
    }

    /// For changes that a test makes behind everybody's back.
    pub(crate) fn sql(&self, statements: &str) {
        let file = Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        file.busy_timeout(LONG).unwrap();
        file.execute_batch(statements).unwrap();
    }

    pub(crate) fn totals(&self) -> BTreeMap<String, i64> {
        let file = Connection::open(self.file()).unwrap();
        let mut all = file.prepare("select page, views from views").unwrap();
        let rows = all.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        let file = Connection::open(self.file()).unwrap();
        file.query_row(&format!("select count(*) from {table}"), (), |row| row.get(0)).unwrap()
    }

    /// How many messages the stream has.
    pub(crate) async fn messages(&self) -> u64 {
        let jetstream = async_nats::jetstream::new(async_nats::connect(self.url()).await.unwrap());
        let stream = jetstream.get_stream("views").await.unwrap();
        stream.cached_info().state.messages
    }
}

/// Until there is nothing to move. What was delivered and not acknowledged comes again after 5 s, so emptiness is
/// asked of the stream itself.
pub(crate) async fn move_all(setting: &Setting, store: &Views) -> Result<(), StoreError> {
    loop {
        if store.move_some().await? == 0 && setting.messages().await == 0 {
            return Ok(());
        }
    }
}
