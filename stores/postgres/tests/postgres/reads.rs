//! Totals that are exact while they are flushed.

use std::collections::BTreeSet;
use std::sync::Arc;

use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate, StoreError, read_exactly_async};
use write_behind::{BatchId, Buffer, FlushBatch, Sum, SummingBuffer, Writer};
use write_behind_postgres::{Ledger, PostgresStore};

use crate::database::{Database, Views, views};

const TOTAL: &str = "select views from page_views where page = $1";

async fn store(database: &Database) -> Arc<PostgresStore<Views>> {
    let ledger = Ledger::new().name("led\"ger");
    Arc::new(PostgresStore::connect_with(database.config(), views(), ledger).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_exact_while_it_is_flushed() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    let sink = ExactlyOnce::new(Arc::clone(&store));
    let buffer: SummingBuffer<String, i64> = Buffer::builder().flush_at_count(1).start_async(sink).unwrap();
    let mut stored = BTreeSet::new();
    for expected in 1..=500 {
        buffer.add("page", 1).unwrap();
        let exact = read_exactly_async(&buffer, "page", async |batch| {
            Ok::<_, StoreError>(store.read(TOTAL, &[&"page"], batch).await?)
        });
        let exact = exact.await.unwrap();
        let waiting: i64 = exact.waiting.iter().map(|views| views.0).sum();
        let total: Option<i64> = exact.stored.get(0);
        assert_eq!(total.unwrap_or(0) + waiting, expected);
        stored.insert(total);
    }
    assert!(stored.len() > 1, "it was flushed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_has_of_a_batch_is_read_beside_the_row() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    database.set_up_refusing().await;
    database.refuse("no").await;
    AsyncStore::<String, Sum<i64>>::register(&*store, Writer::new(7, 1)).await.unwrap();
    let read = async |sequence: Option<u64>| {
        let batch = sequence.map(|sequence| BatchId::new(7, sequence));
        let reading = store.read(TOTAL, &[&"page"], batch).await.unwrap();
        (reading.value.get::<_, Option<i64>>(0), reading.fate)
    };
    assert_eq!(read(None).await, (None, None), "no row");
    let batch = |sequence| FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1);
    store.apply(&batch(1).build()).await.unwrap();
    store.apply(&batch(2).entry("no".to_owned(), Sum(1), 1).build()).await.unwrap();
    store.void(BatchId::new(7, 3), 1).await.unwrap();
    assert_eq!(read(Some(1)).await, (Some(2), Some(Fate::Applied)));
    assert!(matches!(read(Some(2)).await.1, Some(Fate::AppliedExcept(refused)) if refused[0].place == 1));
    assert_eq!(read(Some(3)).await, (Some(2), Some(Fate::Void)));
    assert_eq!((read(Some(4)).await, read(None).await), ((Some(2), None), (Some(2), None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_all_kinds_keep_their_columns_and_parameters() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database).await;
    database.run("insert into page_views values ('a', 1), ('b', 2)").await;
    let query = "select count(*) as fate, sum(views)::text, $2::bigint from page_views where page = any($1)";
    let read = store.read(query, &[&vec!["a", "b"], &7_i64], Some(BatchId::new(7, 1))).await.unwrap();
    let row: (i64, &str, i64) = (read.value.get(0), read.value.get(1), read.value.get(2));
    assert_eq!((row, read.fate), ((2, "3", 7), None));
    let ordered = "select page from page_views order by views desc limit 1";
    assert_eq!(store.read(ordered, &[], None).await.unwrap().value.get::<_, &str>(0), "b");
    let many = store.read("select page from page_views", &[], None).await.unwrap_err();
    assert!(many.to_string().contains("unexpected number of rows"), "{many}");
}
