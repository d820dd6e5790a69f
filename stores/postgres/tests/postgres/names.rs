//! Names of all kinds, and many who create the same tables, or write to the same rows, at once.

use futures_util::future::join_all;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, Sum, SummingBuffer};
use write_behind_postgres::{Ledger, PostgresStore, Sums};

use crate::database::{Database, LONG, views};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_quoted_whatever_is_in_them() {
    let Some(database) = Database::new().await else { return };
    database.run("create schema \"sta\"\"tis;tics\"").await;
    let sums = || {
        let sums = Sums::<String, Sum<i64>>::new("we\"ird; drop").schema("sta\"tis;tics");
        sums.key("select").value("\"\"; --")
    };
    let ledger = || Ledger::new().name("led\"ger; drop").schema("sta\"tis;tics");
    for _ in 0..2 {
        let store = PostgresStore::connect_with(database.config(), sums(), ledger()).await.unwrap();
        let buffer: SummingBuffer<String, i64> =
            Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
        buffer.add("page; drop table", 1).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
        let fates = format!("select count(*) from {}", ledger().fates());
        assert_eq!(database.number(&fates).await, 1);
        buffer.shutdown_async(LONG).await.unwrap();
    }
    let query = "select \"\"\"\"\"; --\" from \"sta\"\"tis;tics\".\"we\"\"ird; drop\" where \"select\" = 'page; drop table'";
    assert_eq!(database.number(query).await, 2);
    let elsewhere = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(database.number(elsewhere).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_who_set_up_at_once_do_not_get_in_each_others_way() {
    for _ in 0..3 {
        let Some(database) = Database::new().await else { return };
        let stores = join_all((0..8).map(|_| PostgresStore::connect(database.config(), views()))).await;
        assert!(stores.iter().all(Result::is_ok), "{stores:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_may_not_create_tables_uses_those_that_are_there() {
    let Some(database) = Database::new().await else { return };
    drop(PostgresStore::connect(database.config(), views()).await.unwrap());
    database
        .run(
            "drop role if exists clerk; create role clerk login; revoke create on schema public from public;
             grant select, insert, update, delete on all tables in schema public to clerk",
        )
        .await;
    let mut config = database.config();
    config.user("clerk");
    let store = PostgresStore::connect(config, views()).await.unwrap();
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    buffer.add("page", 1).unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(database.totals().await, [("page".to_owned(), 1)]);
    database.run("drop owned by clerk; drop role clerk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_buffers_share_their_rows_without_a_deadlock() {
    let Some(database) = Database::new().await else { return };
    let mut buffers: Vec<SummingBuffer<String, i64>> = Vec::new();
    for _ in 0..4 {
        let store = PostgresStore::connect(database.config(), views()).await.unwrap();
        buffers.push(Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap());
    }
    join_all(buffers.iter().cloned().enumerate().map(|(number, buffer)| {
        tokio::spawn(async move {
            for round in 0..40 {
                for page in 0..100 {
                    // Each in an order of its own.
                    let page = (page * 37 + number * 11 + round) % 100;
                    buffer.add(&format!("page-{page}"), 1).unwrap();
                }
                buffer.flush_all_and_wait_async(LONG).await.unwrap();
            }
        })
    }))
    .await;
    for buffer in buffers {
        assert_eq!(buffer.stats().failures, 0, "no deadlocks");
        buffer.shutdown_async(LONG).await.unwrap();
    }
    assert_eq!(database.number("select sum(views)::bigint from page_views").await, 16_000);
    assert_eq!(database.number("select count(*) from write_behind_fates").await, 0);
}
