//! Entries that Postgres refuses are given up alone, in a running buffer.

use std::time::Duration;

use write_behind::exactly_once::{ExactlyOnce, Fate};
use write_behind::{BatchId, Buffer, Count, RetryPolicy, Sum, SummingBuffer};
use write_behind_postgres::{Error, Ledger, PostgresStore, Sums, own_sql};

use crate::database::{Database, LONG, views};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_refused_is_given_up_and_all_others_count() {
    let Some(database) = Database::new().await else { return };
    let store = PostgresStore::connect(database.config(), views()).await.unwrap();
    database.set_up_refusing().await;
    database.refuse("page-17").await;
    database.refuse("page-500").await;
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    for page in 0..1_000 {
        buffer.add(&format!("page-{page}"), 1).unwrap();
    }
    // The buffer has given them up when nothing else is left.
    let _ = buffer.flush_all_and_wait_async(LONG).await;
    assert_eq!((buffer.stats().flushed, buffer.stats().undelivered), (998, 2));
    assert_eq!(buffer.stats().retries, 0, "found in the first attempt");
    assert_eq!(database.number("select sum(views)::bigint from page_views").await, 998);
    // When they are allowed after all, they can be offered again.
    database.run("delete from forbidden").await;
    buffer.retry_undelivered();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(database.number("select sum(views)::bigint from page_views").await, 1_000);
    assert_eq!(database.number("select count(*) from write_behind_writers").await, 0);
    assert_eq!(database.number("select count(*) from write_behind_fates").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_does_not_fit_is_refused_and_stays_what_it_was() {
    let Some(database) = Database::new().await else { return };
    let store = PostgresStore::connect(database.config(), views()).await.unwrap();
    database.run(&format!("insert into page_views values ('full', {}), ('free', 1)", i64::MAX)).await;
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    buffer.add("full", 1).unwrap();
    buffer.add("free", 1).unwrap();
    let left = buffer.shutdown_async(LONG).await.unwrap_err().into_undelivered();
    let left: Vec<_> = left.into_iter().collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].key() == "full" && !left[0].may_be_applied());
    assert_eq!(database.totals().await, [("free".to_owned(), 2), ("full".to_owned(), i64::MAX)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_fails_for_one_entry_fails_for_that_one_alone() {
    let Some(database) = Database::new().await else { return };
    database.run("create table log (page text check (page <> 'page-50'))").await;
    let log = own_sql::<String, Count<u64>, _>(|transaction, batch| {
        Box::pin(async move {
            let pages: Vec<_> = batch.entries().iter().map(|entry| entry.key()).collect();
            transaction.execute("insert into log select unnest($1::text[])", &[&pages]).await?;
            Ok(Vec::new())
        })
    });
    let store = PostgresStore::connect(database.config(), log).await.unwrap();
    let retry = RetryPolicy::new().delay(Duration::ZERO);
    let buffer = Buffer::builder().retry(retry).start_async(ExactlyOnce::new(store)).unwrap();
    for page in 0..100 {
        buffer.insert(format!("page-{page}"), page).unwrap();
    }
    let left = buffer.shutdown_async(LONG).await.unwrap_err().into_undelivered();
    let left: Vec<_> = left.into_iter().collect();
    assert_eq!(left.iter().map(|left| left.key().as_str()).collect::<Vec<_>>(), ["page-50"]);
    assert!(!left[0].may_be_applied());
    assert_eq!(database.number("select count(*) from log").await, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_stays_small_and_knows_below_what_all_is_settled() {
    let Some(database) = Database::new().await else { return };
    let store = PostgresStore::connect(database.config(), views()).await.unwrap();
    let sink = ExactlyOnce::new(store).prune_every(8);
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(sink).unwrap();
    for _ in 0..100 {
        buffer.add("page", 1).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
    }
    let fates = database.number("select count(*) from write_behind_fates").await;
    assert!((1..=10).contains(&fates), "{fates}");
    let gate = database.number("select gate from write_behind_writers").await;
    assert!(gate > 80, "{gate}");
    buffer.shutdown_async(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_doubt_can_be_asked_for() {
    let Some(database) = Database::new().await else { return };
    let store = PostgresStore::connect(database.config(), views()).await.unwrap();
    assert_eq!(store.void(BatchId::new(7, 5), 1).await.unwrap(), Fate::Unregistered);
    database.run("insert into write_behind_writers values (7, 3, 1)").await;
    database.run("insert into write_behind_fates values (7, 4, 'applied')").await;
    assert_eq!(store.void(BatchId::new(7, 5), 1).await.unwrap(), Fate::Void);
    assert_eq!(store.void(BatchId::new(7, 4), 1).await.unwrap(), Fate::Applied);
    assert_eq!(store.void(BatchId::new(7, 2), 1).await.unwrap(), Fate::Settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_were_quiet_for_long_are_forgotten_unless_they_can_come_back() {
    let Some(database) = Database::new().await else { return };
    let ledger = Ledger::new().forget_after(Duration::from_secs(60));
    let store = PostgresStore::connect_with(database.config(), views(), ledger).await.unwrap();
    let quiet = "insert into write_behind_writers values
                     (7, 0, 1, now() - interval '70 s'), (8, 0, 1, now() - interval '50 s'),
                     (16, 0, 2, now() - interval '70 s')";
    database.run(quiet).await;
    database
        .run("insert into write_behind_fates values (7, 1, 'applied'), (8, 1, 'applied'), (16, 1, 'applied')")
        .await;
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    buffer.add("page", 1).unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(database.number("select sum(instance)::bigint from write_behind_writers").await, 8 + 16);
    assert_eq!(database.number("select sum(instance)::bigint from write_behind_fates").await, 8 + 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_fit_the_types_are_refused_at_once() {
    let Some(database) = Database::new().await else { return };
    for wrong in [
        Sums::<String, Sum<i64>>::new("t").key("a"),
        Sums::new("t").value("v"),
        Sums::new("t").key("a").key("b").value("v"),
    ] {
        let error = PostgresStore::connect(database.config(), wrong).await.unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error}");
    }
    database.run("create table other (page text primary key)").await;
    let wrong = Sums::<String, Sum<i64>>::new("other").key("page").value("views");
    let error = PostgresStore::connect(database.config(), wrong).await.unwrap_err();
    assert!(error.to_string().contains("views"), "{error}");
    assert_eq!(database.number("select count(to_regclass('t'))").await, 0);
}
