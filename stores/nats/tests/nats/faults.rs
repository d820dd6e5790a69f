//! Servers that are killed, copies that come late, and stores behind that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use test_servers::eventually;
use tokio::task::block_in_place;
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate};
use write_behind::{BatchId, Buffer, FlushBatch, RetryPolicy, Sum, SummingBuffer, Writer};
use write_behind_nats::BatchStream;

use crate::server::{LONG, Setting, Views, move_all};

fn batch(sequence: u64) -> FlushBatch<String, Sum<i64>> {
    FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1).build()
}

fn start(store: &Arc<Views>) -> SummingBuffer<String, i64> {
    let quick = RetryPolicy::new().delay(Duration::from_millis(20)).cap(Duration::from_millis(100));
    let sink = ExactlyOnce::new(Arc::clone(store)).prune_every(8);
    Buffer::builder().retry(quick).start_async(sink).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_while_nats_is_killed_again_and_again() {
    const ROUNDS: i64 = 12;
    let Some(mut setting) = Setting::new() else { return };
    let store = Arc::new(setting.store().await);
    let (buffer, over) = (start(&store), Arc::new(AtomicBool::new(false)));
    let (mover, stop) = (Arc::clone(&store), Arc::clone(&over));
    let moving = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            // Also while NATS is away.
            if mover.move_some().await.unwrap_or(0) == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    for round in 0..ROUNDS {
        for page in 0..50 {
            buffer.add(&format!("page-{page}"), 1).unwrap();
        }
        buffer.flush_all();
        if round % 4 == 3 {
            block_in_place(|| setting.nats.restart());
        }
    }
    buffer.shutdown_async(LONG).await.unwrap();
    over.store(true, Ordering::Relaxed);
    moving.await.unwrap();
    let totals = setting.totals();
    assert!(totals.len() == 50 && totals.values().all(|views| *views == ROUNDS), "{totals:?}");
    let left = ["write_behind_fates", "write_behind_writers"].map(|table| setting.count(table));
    assert_eq!(left, [0; 2], "the ledger is empty in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_within_the_duplicate_window_is_left_out_by_the_stream() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store().await;
    for _ in 0..3 {
        assert_eq!(store.apply(&batch(1)).await.unwrap(), Fate::Applied);
    }
    assert_eq!(setting.messages().await, 1);
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_after_the_duplicate_window_is_left_out_by_the_ledger() {
    let Some(setting) = Setting::new() else { return };
    // The shortest that NATS takes.
    let stream = BatchStream::new("views").duplicate_window(Duration::from_millis(100));
    let store = setting.store_on(stream).await;
    store.apply(&batch(1)).await.unwrap();
    let mut copies = 1;
    while setting.messages().await == 1 {
        store.apply(&batch(1)).await.unwrap();
        copies += 1;
    }
    assert!(copies > 1 && setting.messages().await == 2);
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_does_not_need_the_store_behind() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store().await;
    store.apply(&batch(1)).await.unwrap();
    setting.sql("alter table views rename to away");
    for sequence in 2..=20 {
        assert_eq!(store.apply(&batch(sequence)).await.unwrap(), Fate::Applied);
    }
    assert!(store.move_some().await.unwrap_err().to_string().contains("no such table"));
    assert_eq!(setting.messages().await, 20);
    setting.sql("alter table away rename to views");
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_made_void_before_it_was_moved_never_counts() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store().await;
    store.apply(&batch(1)).await.unwrap();
    assert_eq!(AsyncStore::void(&store, BatchId::new(7, 1), 1).await.unwrap(), Fate::Void);
    move_all(&setting, &store).await.unwrap();
    assert_eq!(store.apply(&batch(1)).await.unwrap(), Fate::Void, "nor is it published again");
    assert_eq!((setting.messages().await, setting.totals().len()), (0, 0));
    store.apply(&batch(2)).await.unwrap();
    move_all(&setting, &store).await.unwrap();
    let asked = AsyncStore::void(&store, BatchId::new(7, 2), 1).await.unwrap();
    assert_eq!(asked, Fate::Applied, "too late: it counts");
}

/// The record of a batch is pruned below what is settled, and a batch is settled when it is published.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_stream_is_not_taken_for_settled() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store().await;
    for sequence in 1..=10 {
        store.apply(&batch(sequence)).await.unwrap();
    }
    store.prune(Writer::new(7, 1), 11).await.unwrap();
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 10);
    assert_eq!(setting.count("write_behind_fates"), 10);
    eventually("it is known to be moved", || {
        let pruned =
            block_in_place(|| tokio::runtime::Handle::current().block_on(store.prune(Writer::new(7, 1), 11)));
        pruned.unwrap();
        (setting.count("write_behind_fates") == 0).then_some(())
    });
}

/// A process that was killed has published what the next one finds.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_predecessor_has_published_is_moved_before_its_instance_retires() {
    let Some(setting) = Setting::new() else { return };
    let killed = setting.store().await;
    killed.apply(&batch(1)).await.unwrap();
    drop(killed);
    let store = setting.store().await;
    store.register(Writer::new(7, 2)).await.unwrap();
    store.retire(Writer::new(7, 2)).await.unwrap();
    assert_eq!(setting.totals()["page"], 1);
    assert_eq!((setting.messages().await, setting.count("write_behind_writers")), (0, 0));
}
