//! Answers that are lost, attempts that overtake each other, backends that are killed, statements that hang.

use std::time::Duration;

use test_servers::{Proxy, Spoil, eventually};
use tokio::task::block_in_place;
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate};
use write_behind::{Buffer, FlushBatch, RetryPolicy, Sum, SummingBuffer, Writer};
use write_behind_postgres::PostgresStore;

use crate::database::{Database, LONG, views};

async fn start(database: &Database, port: u16, timeout: Duration) -> SummingBuffer<String, i64> {
    let store = PostgresStore::connect(database.config_at(port), views()).await.unwrap();
    let quick = RetryPolicy::new().delay(Duration::from_millis(20)).cap(Duration::from_millis(100));
    Buffer::builder().retry(quick).flush_timeout(timeout).start_async(ExactlyOnce::new(store)).unwrap()
}

/// So that the next statement is that of a batch.
async fn warm_up(buffer: &SummingBuffer<String, i64>) {
    buffer.add("page", 1).unwrap();
    buffer.flush_all_and_wait_async(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_counts_once() {
    let Some(database) = Database::new().await else { return };
    let proxy = Proxy::start(database.server.port());
    let buffer = start(&database, proxy.port(), LONG).await;
    warm_up(&buffer).await;
    for round in 2..=6 {
        proxy.spoil_next(Spoil::LoseAnswer);
        buffer.add("page", 1).unwrap();
        buffer.flush_all_and_wait_async(LONG).await.unwrap();
        assert!(proxy.has_spoiled());
        assert_eq!(database.totals().await, [("page".to_owned(), round)]);
    }
    assert!(buffer.stats().failures >= 5);
    buffer.shutdown_async(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_arrives_when_its_batch_was_sent_again_counts_no_second_time() {
    let Some(database) = Database::new().await else { return };
    let proxy = Proxy::start(database.server.port());
    let buffer = start(&database, proxy.port(), LONG).await;
    warm_up(&buffer).await;
    proxy.spoil_next(Spoil::Delay);
    buffer.add("page", 1).unwrap();
    buffer.flush_all_and_wait_async(LONG).await.unwrap();
    block_in_place(|| proxy.delayed().arrive());
    assert_eq!(database.totals().await, [("page".to_owned(), 2)]);
    // And when the buffer is over, and its ledger with it.
    proxy.spoil_next(Spoil::Delay);
    buffer.add("page", 1).unwrap();
    buffer.flush_all_and_wait_async(LONG).await.unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(database.number("select count(*) from write_behind_writers").await, 0);
    block_in_place(|| proxy.delayed().arrive());
    assert_eq!(database.totals().await, [("page".to_owned(), 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_while_backends_are_killed() {
    /// As many as hit something, and no fewer than some.
    const ROUNDS: i64 = 40;
    let Some(database) = Database::new().await else { return };
    let buffers = [
        start(&database, database.server.port(), LONG).await,
        start(&database, database.server.port(), LONG).await,
    ];
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'write-behind' and datname = current_database()";
    let failures = || buffers.iter().map(|buffer| buffer.stats().failures).sum::<u64>();
    let mut rounds = 0;
    while rounds < ROUNDS || failures() == 0 {
        rounds += 1;
        for buffer in &buffers {
            for page in 0..50 {
                buffer.add(&format!("page-{page}"), 1).unwrap();
            }
            buffer.flush_all();
        }
        database.client.query(kill, &[]).await.unwrap();
    }
    for buffer in buffers {
        buffer.shutdown_async(LONG).await.unwrap();
    }
    let totals = database.totals().await;
    assert_eq!(totals.len(), 50);
    assert!(totals.iter().all(|(_, views)| *views == 2 * rounds), "{totals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_hangs_is_cancelled_at_the_server_and_counts_once() {
    let Some(mut database) = Database::new().await else { return };
    let buffer = start(&database, database.server.port(), Duration::from_millis(100)).await;
    warm_up(&buffer).await;
    let lock = database.client.transaction().await.unwrap();
    lock.query("select * from page_views for update", &[]).await.unwrap();
    buffer.add("page", 1).unwrap();
    buffer.flush_all();
    block_in_place(|| eventually("some are cancelled", || (buffer.stats().retries >= 5).then_some(())));
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                   and datname = current_database()";
    let waiting: i64 = lock.query_one(waiting, &[]).await.unwrap().get(0);
    assert!(waiting <= 2, "{waiting} statements pile up");
    lock.rollback().await.unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(database.totals().await, [("page".to_owned(), 2)]);
}

/// For calls that do not say for which keys.
fn of_views<S: AsyncStore<String, Sum<i64>>>(store: S) -> impl AsyncStore<String, Sum<i64>> {
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_meets_the_pruning_of_its_record_counts_no_second_time() {
    let Some(mut database) = Database::new().await else { return };
    let store = of_views(PostgresStore::connect(database.config(), views()).await.unwrap());
    let batch = FlushBatch::builder(7, 5).entry("page".to_owned(), Sum(1), 1).build();
    store.register(Writer::new(7, 1)).await.unwrap();
    assert_eq!(store.apply(&batch).await.unwrap(), Fate::Applied);
    let pruning = database.client.transaction().await.unwrap();
    pruning.batch_execute("update write_behind_writers set gate = 6").await.unwrap();
    pruning.batch_execute("delete from write_behind_fates").await.unwrap();
    let copy = tokio::spawn(async move { store.apply(&batch).await.unwrap() });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                   and datname = current_database()";
    while pruning.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    pruning.commit().await.unwrap();
    assert_eq!(copy.await.unwrap(), Fate::Settled);
    assert_eq!(database.totals().await, [("page".to_owned(), 1)]);
}
