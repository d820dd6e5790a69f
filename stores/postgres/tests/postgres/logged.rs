//! Sums behind a log.

use std::sync::Arc;

use write_behind::conformance::Conformance;
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, StoreError, read_exactly_async};
use write_behind::{Buffer, FlushBatch, Sum, SummingBuffer, Writer};
use write_behind_postgres::{Ledger, LoggedSums, PostgresStore};

use crate::conformance::settled;
use crate::database::{Database, LONG};

const TOTALS: &str = "
    select page, sum(views)::bigint from (
        select page, views from page_views union all select page, delta from page_views_log
    ) as parts group by page order by page";
const KEPT: &str = "select count(*) from page_views_log";

fn logged() -> LoggedSums<String> {
    LoggedSums::new("page_views").key("page").value("views")
}

async fn store(database: &Database) -> Arc<PostgresStore<LoggedSums<String>>> {
    Arc::new(PostgresStore::connect(database.config(), logged()).await.unwrap())
}

/// Appends a batch of one key.
async fn append(store: &PostgresStore<LoggedSums<String>>, sequence: u64, page: &str, views: i64) {
    AsyncStore::<String, Sum<i64>>::register(store, Writer::new(7, 1)).await.unwrap();
    let batch = FlushBatch::builder(7, sequence).entry(page.to_owned(), Sum(views), 1).build();
    AsyncStore::apply(store, &batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_behind_a_log_count_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(database) = Database::new().await else { return };
        let folds = store(&database).await;
        let pool = folds.pool().clone();
        let mut stores = Vec::new();
        for _ in 0..60 {
            stores.push(PostgresStore::on(pool.clone(), logged(), Ledger::default()).await.unwrap());
        }
        let make = || ExactlyOnce::new(stores.pop().expect("there are enough")).prune_every(4);
        let kit = Conformance::new(|n| format!("page-{n}"), Sum).seed(seed).journaled();
        let read = async || {
            settled(&database, &pool).await;
            folds.fold(3).await.unwrap();
            let rows = database.client.query(TOTALS, &[]).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(String, i64)>>()
        };
        let report = kit.run_async(make, read).await;
        println!("{report}");
        report.assert_exactly_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_exact_while_it_is_flushed_and_folded() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    let sink = ExactlyOnce::new(Arc::clone(&store));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().flush_at_count(1).start_async(sink).unwrap();
    let page = "page".to_owned();
    let mut folded = 0;
    for expected in 1..=500 {
        buffer.add("page", 1).unwrap();
        let read = async |batch| Ok::<_, StoreError>(store.read_total(&page, batch).await?);
        let (exact, folds) = tokio::join!(read_exactly_async(&buffer, "page", read), store.fold(10));
        let exact = exact.unwrap();
        folded += folds.unwrap();
        let waiting: i128 = exact.waiting.iter().map(|views| i128::from(views.0)).sum();
        assert_eq!(exact.stored.unwrap_or(0) + waiting, expected);
    }
    assert!(folded > 1, "it was folded meanwhile");
    buffer.shutdown_async(LONG).await.unwrap();
    while store.fold(10).await.unwrap() > 0 {}
    assert_eq!((database.totals().await, database.number(KEPT).await), (vec![(page, 500)], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_does_not_fit_waits_in_the_log_and_holds_up_no_other() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    for (sequence, page, views) in [(1, "big", i64::MAX), (2, "big", 3), (3, "small", 1)] {
        append(&store, sequence, page, views).await;
    }
    assert_eq!(store.fold(10).await.unwrap(), 1);
    assert_eq!((database.totals().await, database.number(KEPT).await), (vec![("small".to_owned(), 1)], 2));
    let big = store.read_total(&"big".to_owned(), None).await.unwrap().value;
    assert_eq!(big, Some(i128::from(i64::MAX) + 3));
    append(&store, 4, "big", -5).await;
    assert_eq!(store.fold(10).await.unwrap(), 1);
    let totals = vec![("big".to_owned(), i64::MAX - 2), ("small".to_owned(), 1)];
    assert_eq!((database.totals().await, database.number(KEPT).await), (totals, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_takes_as_many_keys_as_it_is_told_and_leaves_them_to_whoever_is_at_it() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    for (sequence, page) in (1..).zip(["a", "b", "c"]) {
        append(&store, sequence, page, 1).await;
    }
    database.run("begin; select pg_advisory_xact_lock(x'666f6c64'::bigint)").await;
    assert_eq!(store.fold(2).await.unwrap(), 0, "somebody else is at it");
    database.run("commit").await;
    assert_eq!((store.fold(2).await.unwrap(), store.fold(2).await.unwrap()), (2, 1));
    assert_eq!(store.fold(2).await.unwrap(), 0);
    assert_eq!(store.read_total(&"d".to_owned(), None).await.unwrap().value, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_columns_and_names_of_any_kind_are_folded() {
    let Some(database) = Database::new().await else { return };
    database.run("create schema \"my \"\"schema\"").await;
    let sums = LoggedSums::<(String, i64)>::new("sums").schema("my \"schema").log("log");
    let sums = sums.key("the account").key("value").value("to\"tal");
    let store = PostgresStore::connect(database.config(), sums).await.unwrap();
    AsyncStore::<(String, i64), Sum<i64>>::register(&store, Writer::new(7, 1)).await.unwrap();
    let key = |n| ("ada".to_owned(), n);
    for sequence in [1, 2] {
        let batch =
            FlushBatch::builder(7, sequence).entry(key(1), Sum(3), 1).entry(key(2), Sum(4), 1).build();
        AsyncStore::apply(&store, &batch).await.unwrap();
        assert_eq!(store.fold(10).await.unwrap(), 2);
    }
    assert_eq!(store.read_total(&key(2), None).await.unwrap().value, Some(8));
    let sums = "select sum(\"to\"\"tal\")::bigint from \"my \"\"schema\".sums where \"value\" = 1";
    assert_eq!(database.number(sums).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_fit_the_key_are_found_at_the_start() {
    let Some(database) = Database::new().await else { return };
    let sums = LoggedSums::<(String, i64)>::new("t").key("only one");
    let error = PostgresStore::connect(database.config(), sums).await.unwrap_err();
    assert!(error.to_string().contains("1 key columns are named, and the type has 2"), "{error}");
    let missing = LoggedSums::<String>::new("page_views").key("page").value("visits");
    store(&database).await;
    let error = PostgresStore::connect(database.config(), missing).await.unwrap_err();
    assert!(error.to_string().contains("visits"), "{error}");
}
