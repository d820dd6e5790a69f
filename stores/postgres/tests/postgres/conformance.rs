//! The kit judges the stores over a real server.

use std::pin::Pin;
use std::time::Instant;

use deadpool_postgres::{Pool, Transaction};
use test_servers::LIMIT;
use write_behind::conformance::{Conformance, Scenario};
use write_behind::exactly_once::{ExactlyOnce, Rejection};
use write_behind::{FlushBatch, Sum};
use write_behind_postgres::{Error, Ledger, OwnSql, PostgresStore, WriteBatch, own_sql};

use crate::database::{Database, blocking, views};

/// Over one pool, so that not each process of the kit needs connections of its own.
async fn judge<W: WriteBatch<String, Sum<i64>>>(database: &Database, seed: u64, write: fn() -> W) {
    let first = PostgresStore::connect(database.config(), views()).await.unwrap();
    database.set_up_refusing().await;
    let pool = first.pool().clone();
    let config = database.config();
    // The kit makes sinks without awaiting, and the storm makes about a dozen.
    let mut stores = Vec::new();
    for _ in 0..60 {
        stores.push(PostgresStore::on(pool.clone(), write(), Ledger::default()).await.unwrap());
    }
    let refuse = |page: Option<&String>| {
        let page = page.map(|page| format!("; insert into forbidden values ('{page}')"));
        blocking(&config, format!("delete from forbidden{}", page.unwrap_or_default()));
    };
    let make = || ExactlyOnce::new(stores.pop().expect("there are enough")).prune_every(4);
    let kit = Conformance::new(|n| format!("page-{n}"), Sum).seed(seed).refuse(refuse).journaled();
    let read = async || {
        settled(database, &pool).await;
        database.totals().await
    };
    let report = kit.run_async(make, read).await;
    println!("{report}");
    report.assert_exactly_once();
}

/// What cancelled calls have started is over: connections that they have closed are gone, and nobody is at work.
pub(crate) async fn settled(database: &Database, pool: &Pool) {
    let sessions = "select count(*), count(*) filter (where state <> 'idle') from pg_stat_activity
                    where application_name = 'write-behind' and datname = current_database()";
    let deadline = Instant::now() + LIMIT;
    loop {
        let row = database.client.query_one(sessions, &[]).await.unwrap();
        let (all, busy): (i64, i64) = (row.get(0), row.get(1));
        if busy == 0 && all <= pool.status().size as i64 {
            return;
        }
        assert!(Instant::now() < deadline, "{busy} of {all} sessions are still at work");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_count_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(database) = Database::new().await else { return };
        judge(&database, seed, views).await;
    }
}

type Written<'a> = Pin<Box<dyn Future<Output = Result<Vec<Rejection>, Error>> + Send + 'a>>;
type Write = for<'a> fn(&'a mut Transaction<'_>, &'a FlushBatch<String, Sum<i64>>) -> Written<'a>;

/// Row by row, and stops at the first that is refused.
fn all_or_none() -> OwnSql<Write> {
    own_sql::<String, Sum<i64>, Write>(|transaction, batch| {
        Box::pin(async move {
            let upsert = "insert into page_views as old values ($1, $2)
                          on conflict (page) do update set views = old.views + excluded.views";
            let upsert = transaction.prepare_cached(upsert).await?;
            for entry in batch.sorted() {
                transaction.execute(&upsert, &[entry.key(), &entry.data().0]).await?;
            }
            Ok(Vec::new())
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_of_the_users_own_counts_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(database) = Database::new().await else { return };
        judge(&database, seed, all_or_none).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_that_postgres_cannot_store_is_given_up_alone() {
    let Some(database) = Database::new().await else { return };
    let store = PostgresStore::connect(database.config(), views()).await.unwrap();
    let mut sinks = vec![ExactlyOnce::new(store)];
    let kit = Conformance::new(|n| format!("page-{n}"), Sum).poison(|n| format!("page-{n}\0"));
    let make = || sinks.pop().expect("one is enough");
    let report = kit.only([Scenario::Poison]).run_async(make, async || database.totals().await).await;
    println!("{report}");
    report.assert_exactly_once();
    assert_eq!(database.number("select count(*) from write_behind_writers").await, 1, "it is undelivered");
}
