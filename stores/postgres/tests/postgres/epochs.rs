//! Processes that were replaced and do not know it: what they still ask of Postgres, and when it gets there.

use std::sync::Arc;
use std::time::Instant;

use test_servers::{LIMIT, Proxy, Spoil};
use tokio::task::{block_in_place, spawn};
use tokio_postgres::Transaction;
use write_behind::exactly_once::{AsyncStore, Fate};
use write_behind::{BatchId, FlushBatch, Sum, Writer};
use write_behind_postgres::{PostgresStore, own_sql};

use crate::database::{Database, views};

type Batch = FlushBatch<String, Sum<i64>>;

fn first() -> Writer {
    Writer::new(7, 1)
}

fn second() -> Writer {
    Writer::new(7, 2)
}

fn batch(sequence: u64, by: Writer) -> Batch {
    FlushBatch::builder(7, sequence).epoch(by.epoch).entry("page".to_owned(), Sum(1), 1).build()
}

/// For calls that do not say for which keys.
fn of_views<S: AsyncStore<String, Sum<i64>>>(store: S) -> impl AsyncStore<String, Sum<i64>> {
    store
}

async fn store(database: &Database, port: u16) -> Arc<impl AsyncStore<String, Sum<i64>> + 'static> {
    Arc::new(of_views(PostgresStore::connect(database.config_at(port), views()).await.unwrap()))
}

/// Until so many statements wait for a lock.
async fn waiting(step: &Transaction<'_>, statements: i64) {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                   and datname = current_database()";
    let deadline = Instant::now() + LIMIT;
    while step.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < statements {
        assert!(Instant::now() < deadline, "too few wait");
        // Or those that have connected meanwhile are not seen.
        step.query_one("select pg_stat_clear_snapshot()", &[]).await.unwrap();
    }
}

/// `WRITE_BEHIND_ZOMBIES` says how many processes are replaced (default 1).
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_held_back_until_another_process_took_over_does_nothing() {
    let Some(database) = Database::new().await else { return };
    let proxy = Proxy::start(database.server.port());
    let zombies = std::env::var("WRITE_BEHIND_ZOMBIES");
    let zombies = zombies.map_or(1, |zombies| zombies.parse().expect("WRITE_BEHIND_ZOMBIES is a number"));
    for instance in 1..=zombies {
        held_back(&database, &proxy, instance).await;
    }
}

async fn held_back(database: &Database, proxy: &Proxy, instance: u64) {
    let (first, second) = (Writer::new(instance, 1), Writer::new(instance, 2));
    let page = format!("page {instance}");
    let batch = |sequence, by: Writer| {
        let batch = FlushBatch::builder(by.instance, sequence).epoch(by.epoch);
        batch.entry(page.clone(), Sum(1), 1).build()
    };
    let total = format!("select coalesce(sum(views), 0)::bigint from page_views where page = '{page}'");
    let (zombie, successor) =
        (store(database, proxy.port()).await, store(database, database.server.port()).await);
    assert_eq!(zombie.register(first).await.unwrap(), 1);
    // So that the next statement is that of a batch.
    assert_eq!(zombie.apply(&batch(1, first)).await.unwrap(), Fate::Applied);
    proxy.spoil_next(Spoil::Delay);
    zombie.apply(&batch(2, first)).await.unwrap_err();
    assert_eq!(successor.register(second).await.unwrap(), 2);
    block_in_place(|| proxy.delayed().arrive());
    assert_eq!(database.number(&total).await, 1);
    assert_eq!(successor.apply(&batch(2, second)).await.unwrap(), Fate::Applied);
    assert_eq!(zombie.apply(&batch(3, first)).await.unwrap(), Fate::Superseded { by: 2 });
    assert_eq!(zombie.register(first).await.unwrap(), 2, "it is told, and lowers nothing");
    assert_eq!(database.number(&total).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_meets_another_process_taking_over_waits_and_does_nothing() {
    let Some(mut database) = Database::new().await else { return };
    let zombie = store(&database, database.server.port()).await;
    zombie.register(first()).await.unwrap();
    zombie.apply(&batch(1, first())).await.unwrap();
    let taking_over = database.client.transaction().await.unwrap();
    taking_over.batch_execute("update write_behind_writers set epoch = 2").await.unwrap();
    let applied = spawn({
        let zombie = Arc::clone(&zombie);
        async move { zombie.apply(&batch(2, first())).await.unwrap() }
    });
    waiting(&taking_over, 1).await;
    let voided = spawn({
        let zombie = Arc::clone(&zombie);
        async move { zombie.void(BatchId::new(7, 3), 1).await.unwrap() }
    });
    waiting(&taking_over, 2).await;
    let pruned = spawn({
        let zombie = Arc::clone(&zombie);
        async move { zombie.prune(first(), 9).await.unwrap() }
    });
    waiting(&taking_over, 3).await;
    let retired = spawn(async move { zombie.retire(first()).await.unwrap() });
    waiting(&taking_over, 4).await;
    taking_over.commit().await.unwrap();
    assert_eq!(applied.await.unwrap(), Fate::Superseded { by: 2 });
    assert_eq!(voided.await.unwrap(), Fate::Superseded { by: 2 });
    pruned.await.unwrap();
    retired.await.unwrap();
    assert_eq!(database.totals().await, [("page".to_owned(), 1)]);
    assert_eq!(database.number("select sum(sequence)::bigint from write_behind_fates").await, 1);
    assert_eq!(database.number("select gate from write_behind_writers").await, 0);
}

/// A batch that holds the instance's row waits for another row; meanwhile another process registers.
async fn takes_over_in_the_middle_of_a_batch(
    database: &mut Database,
    zombie: Arc<impl AsyncStore<String, Sum<i64>> + 'static>,
) {
    let successor = store(database, database.server.port()).await;
    zombie.register(first()).await.unwrap();
    zombie.apply(&batch(1, first())).await.unwrap();
    let row = database.client.transaction().await.unwrap();
    row.query("select * from page_views for update", &[]).await.unwrap();
    let applied = spawn({
        let zombie = Arc::clone(&zombie);
        async move { zombie.apply(&batch(2, first())).await.unwrap() }
    });
    waiting(&row, 1).await;
    let registered = spawn({
        let successor = Arc::clone(&successor);
        async move { successor.register(second()).await.unwrap() }
    });
    waiting(&row, 2).await;
    row.rollback().await.unwrap();
    assert_eq!(applied.await.unwrap(), Fate::Applied, "it came first");
    assert_eq!(registered.await.unwrap(), 2);
    assert_eq!(successor.apply(&batch(2, second())).await.unwrap(), Fate::Applied);
    assert_eq!(zombie.apply(&batch(2, first())).await.unwrap(), Fate::Superseded { by: 2 });
    assert_eq!(database.totals().await, [("page".to_owned(), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_in_the_middle_of_a_batch() {
    let Some(mut database) = Database::new().await else { return };
    let zombie = store(&database, database.server.port()).await;
    takes_over_in_the_middle_of_a_batch(&mut database, zombie).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_between_the_steps_of_a_batch() {
    let Some(mut database) = Database::new().await else { return };
    database.run("create table page_views (page text primary key, views bigint not null)").await;
    let write = own_sql::<String, Sum<i64>, _>(|transaction, batch| {
        Box::pin(async move {
            let upsert = "insert into page_views as old values ($1, $2)
                          on conflict (page) do update set views = old.views + excluded.views";
            for entry in batch.sorted() {
                transaction.execute(upsert, &[entry.key(), &entry.data().0]).await?;
            }
            Ok(Vec::new())
        })
    });
    let zombie = Arc::new(of_views(PostgresStore::connect(database.config(), write).await.unwrap()));
    takes_over_in_the_middle_of_a_batch(&mut database, zombie).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_the_ledger_has_not_heard_of_has_to_register() {
    let Some(database) = Database::new().await else { return };
    let store = store(&database, database.server.port()).await;
    store.register(first()).await.unwrap();
    store.apply(&batch(1, first())).await.unwrap();
    assert_eq!(store.apply(&batch(1, second())).await.unwrap(), Fate::Unregistered);
    assert_eq!(store.void(BatchId::new(7, 2), 2).await.unwrap(), Fate::Unregistered);
    assert_eq!(store.register(second()).await.unwrap(), 2);
    assert_eq!(store.apply(&batch(1, second())).await.unwrap(), Fate::Applied);
    assert_eq!(database.totals().await, [("page".to_owned(), 1)], "what is recorded stays recorded");
    store.retire(second()).await.unwrap();
    assert_eq!(database.number("select count(*) from write_behind_fates").await, 0);
}
