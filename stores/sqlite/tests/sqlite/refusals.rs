//! Entries that SQLite refuses are given up alone, in a running buffer.

use std::time::Duration;

use rusqlite::{Connection, Transaction, params};
use write_behind::exactly_once::{ExactlyOnce, Fate};
use write_behind::{BatchId, Buffer, Count, FlushBatch, RetryPolicy, Sum, SummingBuffer};
use write_behind_sqlite::{Error, Ledger, SqliteStore, Sums};

use crate::file::{File, views};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_page_that_is_refused_is_given_up_and_all_others_count() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    file.set_up_refusing("abort");
    file.refuse(Some(&"page-500".to_owned()));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    for page in 0..1_000 {
        buffer.add(&format!("page-{page}"), 1).unwrap();
    }
    // The buffer has given it up when nothing else is left.
    let _ = buffer.flush_all_and_wait(LONG);
    assert_eq!((buffer.stats().flushed, buffer.stats().undelivered), (999, 1));
    assert_eq!(file.number("select sum(views) from page_views"), 999);
    assert_eq!(file.number("select count(*) from write_behind_fates where fate like 'except%'"), 1);
    // When it is allowed after all, it can be offered again.
    file.refuse(None);
    buffer.retry_undelivered();
    buffer.shutdown(LONG).unwrap();
    assert_eq!(file.number("select sum(views) from page_views"), 1_000);
    assert_eq!(file.number("select count(*) from write_behind_writers"), 0);
}

#[test]
fn sql_that_fails_for_one_entry_fails_for_that_one_alone() {
    let file = File::new();
    file.run("create table log (page text check (page <> 'page-50'))");
    let log = |step: &Transaction<'_>, batch: &FlushBatch<String, Count<u64>>| {
        for entry in batch.entries() {
            step.prepare_cached("insert into log values (?1)")?.execute(params![entry.key()])?;
        }
        Ok::<_, Error>(Vec::new())
    };
    let store = SqliteStore::open(file.path(), log).unwrap();
    let retry = RetryPolicy::new().delay(Duration::ZERO);
    let buffer = Buffer::builder().retry(retry).start(ExactlyOnce::new(store)).unwrap();
    for page in 0..100 {
        buffer.insert(format!("page-{page}"), page).unwrap();
    }
    let left: Vec<_> = buffer.shutdown(LONG).unwrap_err().into_undelivered().into_iter().collect();
    assert_eq!(left.iter().map(|left| left.key().as_str()).collect::<Vec<_>>(), ["page-50"]);
    assert!(!left[0].may_be_applied());
    assert_eq!(file.number("select count(*) from log"), 99);
}

#[test]
fn the_ledger_stays_small_and_knows_below_what_all_is_settled() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    let sink = ExactlyOnce::new(store).prune_every(8);
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(sink).unwrap();
    for _ in 0..100 {
        buffer.add("page", 1).unwrap();
        buffer.flush_all_and_wait(LONG).unwrap();
    }
    let fates = file.number("select count(*) from write_behind_fates");
    assert!((1..=10).contains(&fates), "{fates}");
    let gate = file.number("select gate from write_behind_writers");
    assert!(gate > 80, "{gate}");
    buffer.shutdown(LONG).unwrap();
}

#[test]
fn a_sum_that_does_not_fit_is_refused_and_stays_what_it_was() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    file.run(&format!("insert into page_views values ('full', {}), ('free', 1)", i64::MAX));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    buffer.add("full", 1).unwrap();
    buffer.add("free", 1).unwrap();
    let left: Vec<_> = buffer.shutdown(LONG).unwrap_err().into_undelivered().into_iter().collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].key() == "full" && !left[0].may_be_applied());
    let totals = file.totals("select page, views from page_views order by page");
    assert_eq!(totals, [("free".to_owned(), 2), ("full".to_owned(), i64::MAX)]);
}

#[test]
fn a_batch_in_doubt_can_be_asked_for() {
    let file = File::new();
    let store = SqliteStore::open(file.path(), views()).unwrap();
    let batch = BatchId::new(7, 1);
    assert_eq!(store.void(batch, 1).unwrap(), Fate::Unregistered);
    file.run("insert into write_behind_writers values (7, 0, 1, unixepoch())");
    assert_eq!(store.void(batch, 1).unwrap(), Fate::Void);
    file.run("insert into write_behind_fates values (7, 2, 'applied')");
    assert_eq!(store.void(BatchId::new(7, 2), 1).unwrap(), Fate::Applied);
}

#[test]
fn instances_that_were_quiet_for_long_are_forgotten_unless_they_can_come_back() {
    let file = File::new();
    let ledger = Ledger::new().forget_after(Duration::from_secs(60));
    let store = SqliteStore::open_with(file.path(), views(), ledger).unwrap();
    file.run(
        "insert into write_behind_writers values
             (7, 0, 1, unixepoch() - 70), (8, 0, 1, unixepoch() - 50), (16, 0, 2, unixepoch() - 70)",
    );
    file.run(
        "insert into write_behind_fates values (7, 1, 'applied'), (8, 1, 'applied'), (16, 1, 'applied')",
    );
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store)).unwrap();
    buffer.add("page", 1).unwrap();
    buffer.shutdown(LONG).unwrap();
    assert_eq!(file.number("select sum(instance) from write_behind_writers"), 8 + 16);
    assert_eq!(file.number("select sum(instance) from write_behind_fates"), 8 + 16);
}

#[test]
fn columns_that_do_not_fit_the_types_are_refused_at_once() {
    let file = File::new();
    for wrong in [
        Sums::<String, Sum<i64>>::new("t").key("a"),
        Sums::new("t").value("v"),
        Sums::new("t").key("a").key("b").value("v"),
    ] {
        let error = SqliteStore::open(file.path(), wrong).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error}");
    }
    file.run("create table other (page text primary key)");
    let wrong = Sums::<String, Sum<i64>>::new("other").key("page").value("views");
    assert!(matches!(SqliteStore::open(file.path(), wrong), Err(Error::Sqlite(_))));
    let connection = Connection::open(file.path()).unwrap();
    assert!(!connection.table_exists(None, "t").unwrap());
}
