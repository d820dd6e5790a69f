//! The kit judges the store over a real server, with a store of SQLite behind it.

use std::sync::Arc;

use write_behind::Sum;
use write_behind::conformance::Conformance;
use write_behind::exactly_once::ExactlyOnce;

use crate::server::{Setting, move_all};

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_moved_count_each_insert_once() {
    for seed in test_servers::seeds() {
        let Some(setting) = Setting::new() else { return };
        let store = Arc::new(setting.store().await);
        let kit = Conformance::new(|n| format!("page-{n}"), Sum).seed(seed);
        let make = || ExactlyOnce::new(Arc::clone(&store)).prune_every(4);
        let read = async || {
            move_all(&setting, &store).await.unwrap();
            setting.totals()
        };
        let report = kit.run_async(make, read).await;
        println!("{report}");
        report.assert_exactly_once();
    }
}
