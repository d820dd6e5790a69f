//! The kit judges the store over a real server.

#[path = "../src/store.rs"]
mod store;

use std::sync::Arc;
use std::time::Instant;

use sqlx::{PgPool, query_as, query_scalar};
use test_servers::{LIMIT, PostgresServer};
use write_behind::Sum;
use write_behind::conformance::Conformance;
use write_behind::exactly_once::ExactlyOnce;

use crate::store::PageViews;

/// What cancelled calls have started is over.
async fn settled(pool: &PgPool) {
    let busy = "select count(*) from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid()
                and datname = current_database()";
    let deadline = Instant::now() + LIMIT;
    while query_scalar::<_, i64>(busy).fetch_one(pool).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "somebody is still at work");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_insert_counts_once() {
    let Some(server) = PostgresServer::start() else { return };
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let store = Arc::new(PageViews::new(pool.clone()).await.unwrap());
    let make = || ExactlyOnce::new(Arc::clone(&store)).prune_every(4);
    let read = async || {
        settled(&pool).await;
        let totals: Vec<(String, i64)> =
            query_as("select page, views from page_views").fetch_all(&pool).await.unwrap();
        totals
    };
    let kit = Conformance::new(|n| format!("page-{n}"), Sum).poison(|n| format!("page-{n}\0")).journaled();
    let report = kit.run_async(make, read).await;
    println!("{report}");
    report.assert_exactly_once();
}
