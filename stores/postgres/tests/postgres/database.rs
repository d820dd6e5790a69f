//! A database for one test, on a server that all tests share.

use std::sync::{Arc, atomic::AtomicU32, atomic::Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use test_servers::PostgresServer;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use write_behind::Sum;
use write_behind_postgres::Sums;

pub(crate) type Views = Sums<String, Sum<i64>>;

pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) fn views() -> Views {
    Sums::new("page_views").key("page").value("views")
}

pub(crate) struct Database {
    pub(crate) server: Arc<PostgresServer>,
    name: String,
    pub(crate) client: Client,
}

/// Stops with the last test that uses it.
fn server() -> Option<Arc<PostgresServer>> {
    static SERVER: OnceLock<Mutex<Weak<PostgresServer>>> = OnceLock::new();
    let mut running = SERVER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = running.upgrade() {
        return Some(server);
    }
    let server = Arc::new(PostgresServer::start()?);
    *running = Arc::downgrade(&server);
    Some(server)
}

impl Database {
    /// `None` where Postgres is not installed.
    pub(crate) async fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let all = connect(&server.url().parse().unwrap()).await;
        all.batch_execute(&format!("create database {name}")).await.unwrap();
        let client = connect(server.url().parse::<Config>().unwrap().dbname(&name)).await;
        Some(Database { server, name, client })
    }

    pub(crate) fn config(&self) -> Config {
        self.config_at(self.server.port())
    }

    /// Reached through another port.
    pub(crate) fn config_at(&self, port: u16) -> Config {
        let mut config: Config = self.server.url_at(port).parse().unwrap();
        config.dbname(&self.name);
        config
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Of all pages.
    pub(crate) async fn totals(&self) -> Vec<(String, i64)> {
        let rows = self.client.query("select page, views from page_views order by page", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Has `page_views` refuse what is in a table of forbidden pages.
    pub(crate) async fn set_up_refusing(&self) {
        self.run(
            "create table forbidden (page text);
             create function refuse() returns trigger language plpgsql as $$ begin
                 if new.page in (select page from forbidden) then
                     raise exception 'forbidden' using errcode = 'check_violation';
                 end if;
                 return new;
             end $$;
             create trigger refuse before insert or update on page_views for each row execute function refuse()",
        )
        .await;
    }

    pub(crate) async fn refuse(&self, page: &str) {
        self.client.execute("insert into forbidden values ($1)", &[&page]).await.unwrap();
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Blocks, for what the kit calls without awaiting: on a thread and a runtime of its own.
pub(crate) fn blocking(config: &Config, sql: String) {
    let config = config.clone();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = connect(&config).await;
            let _: Vec<SimpleQueryMessage> = client.simple_query(&sql).await.unwrap();
        });
    };
    std::thread::spawn(work).join().unwrap();
}
