//! A Postgres client for tests, which block.

use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

pub struct SqlClient {
    client: tokio_postgres::Client,
    /// Runs the connection, while somebody waits for it.
    runtime: Runtime,
}

impl SqlClient {
    pub fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).unwrap();
        runtime.spawn(connection);
        SqlClient { client, runtime }
    }

    pub fn query(&self, query: &str) -> Vec<Row> {
        self.runtime.block_on(self.client.query(query, &[])).unwrap()
    }

    /// The only number of the only row.
    pub fn number(&self, query: &str) -> i64 {
        self.query(query)[0].get(0)
    }

    pub fn execute(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) {
        self.runtime.block_on(self.client.execute(statement, parameters)).unwrap();
    }
}
