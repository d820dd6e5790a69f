//! Names of all kinds, and many who create the same tables at once.

use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Sum, SummingBuffer};
use write_behind_sqlite::{Ledger, SqliteStore, Sums};

use crate::file::{File, views};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn names_are_quoted_whatever_is_in_them() {
    let file = File::new();
    let attached = file.path().with_file_name("attached.db");
    let connection = Arc::new(Mutex::new(Connection::open_in_memory().unwrap()));
    connection
        .lock()
        .unwrap()
        .execute("attach ?1 as \"sta\"\"tis;tics\"", [attached.to_str().unwrap()])
        .unwrap();
    let sums = Sums::<String, Sum<i64>>::new("we\"ird; drop")
        .schema("sta\"tis;tics")
        .key("select")
        .value("\"\"; --");
    let ledger = Ledger::new().name("led\"ger; drop").schema("sta\"tis;tics");
    let store = SqliteStore::on(Arc::clone(&connection), sums, ledger).unwrap();
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    for _ in 0..2 {
        buffer.add("page; drop table", 1).unwrap();
        buffer.flush_all_and_wait(LONG).unwrap();
    }
    let kept = Connection::open(attached).unwrap();
    let query = "select \"select\", \"\"\"\"\"; --\" from \"we\"\"ird; drop\"";
    let row = kept.query_row(query, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, ("page; drop table".to_owned(), 2));
    let fates = "select count(*) from \"led\"\"ger; drop_fates\"";
    assert_eq!(kept.query_row(fates, (), |row| row.get::<_, i64>(0)).unwrap(), 2);
    buffer.shutdown(LONG).unwrap();
}

#[test]
fn eight_who_set_up_at_once_do_not_get_in_each_others_way() {
    for _ in 0..5 {
        let file = File::new();
        let (path, start) = (file.path(), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    SqliteStore::open(&path, views()).unwrap();
                });
            }
        });
        assert_eq!(file.number("select count(*) from page_views"), 0);
    }
}

#[test]
fn several_buffers_share_a_file_and_its_ledger() {
    let file = File::new();
    let buffers: Vec<SummingBuffer<String, i64>> = (0..4)
        .map(|_| {
            let store = SqliteStore::open(file.path(), views()).unwrap();
            Buffer::builder().start(ExactlyOnce::new(store)).unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for buffer in &buffers {
            scope.spawn(|| {
                for n in 0..1_000 {
                    buffer.add(&format!("page-{}", n % 10), 1).unwrap();
                    if n % 100 == 0 {
                        buffer.flush_all();
                    }
                }
            });
        }
    });
    for buffer in buffers {
        assert_eq!(buffer.stats().failures, 0, "all waited for their turn");
        buffer.shutdown(LONG).unwrap();
    }
    assert_eq!(file.number("select sum(views) from page_views"), 4_000);
    assert_eq!(file.number("select count(*) from write_behind_writers"), 0);
}
