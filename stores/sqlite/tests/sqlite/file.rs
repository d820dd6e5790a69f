//! A file for one test, thrown away afterwards.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};
use tempfile::TempDir;
use write_behind::Sum;
use write_behind_sqlite::Sums;

pub(crate) type Views = Sums<String, Sum<i64>>;

pub(crate) fn views() -> Views {
    Sums::new("page_views").key("page").value("views")
}

pub(crate) struct File {
    folder: TempDir,
    pub(crate) connection: Connection,
}

impl File {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("test.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        File { folder, connection }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    pub(crate) fn run(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn number(&self, query: &str) -> i64 {
        self.connection.query_row(query, (), |row| row.get(0)).optional().unwrap().unwrap_or(0)
    }

    /// Texts and numbers.
    pub(crate) fn totals(&self, query: &str) -> Vec<(String, i64)> {
        let mut statement = self.connection.prepare(query).unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Has `page_views` refuse a page, in the way of `raise`.
    pub(crate) fn set_up_refusing(&self, raise: &str) {
        self.run("create table forbidden (page text)");
        for event in ["insert", "update"] {
            self.run(&format!(
                "create trigger no_{event} before {event} on page_views
                 when new.page in (select page from forbidden)
                 begin select raise({raise}, 'forbidden'); end"
            ));
        }
    }

    pub(crate) fn refuse(&self, page: Option<&String>) {
        self.run("delete from forbidden");
        if let Some(page) = page {
            self.connection.execute("insert into forbidden values (?1)", params![page]).unwrap();
        }
    }
}
