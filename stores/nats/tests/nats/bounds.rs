//! Batches that are too large, streams that are full, and streams that were there before.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate, StoreErrorKind};
use write_behind::{Buffer, FlushBatch, Sum, SummingBuffer};
use write_behind_nats::{BatchStream, Error, NatsStore};

use crate::server::{LONG, Setting, move_all};

fn batch(sequence: u64) -> FlushBatch<String, Sum<i64>> {
    FlushBatch::builder(7, sequence).entry("page".to_owned(), Sum(1), 1).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_too_large_for_a_message_is_split() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store().await;
    let buffer: SummingBuffer<String, i64> =
        Buffer::builder().partitions(1).start_async(ExactlyOnce::new(store)).unwrap();
    // Six bytes of JSON for each of these, so that all are more than the megabyte that NATS takes.
    let long = "\u{1}".repeat(500);
    let pages: BTreeMap<_, _> = (0..500).map(|number| (format!("{long}{number}"), 1)).collect();
    pages.keys().for_each(|page| buffer.add(page, 1).unwrap());
    buffer.shutdown_async(LONG).await.unwrap();
    assert_eq!(setting.totals(), pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_and_loses_nothing() {
    let Some(setting) = Setting::new() else { return };
    let store = setting.store_on(BatchStream::new("views").max_batches(2)).await;
    for sequence in 1..=2 {
        store.apply(&batch(sequence)).await.unwrap();
    }
    let refused = store.apply(&batch(3)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unknown, "no entry is to blame: {refused}");
    assert!(refused.to_string().contains("maximum messages"), "{refused}");
    move_all(&setting, &store).await.unwrap();
    assert_eq!(store.apply(&batch(3)).await.unwrap(), Fate::Applied);
    move_all(&setting, &store).await.unwrap();
    assert_eq!(setting.totals()["page"], 3);
}

/// It may keep its messages on purpose.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_there_is_used_as_it_is_and_none_of_it_is_removed() {
    let Some(setting) = Setting::new() else { return };
    let jetstream = jetstream::new(async_nats::connect(setting.url()).await.unwrap());
    let config = stream::Config {
        name: "views".to_owned(),
        subjects: vec!["pages.>".to_owned()],
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let wanted = BatchStream::new("views").subject("pages.viewed").consumer("totals");
    let store = NatsStore::on(jetstream.clone(), wanted, setting.behind()).await.unwrap();
    for sequence in 1..=5 {
        store.apply(&batch(sequence)).await.unwrap();
    }
    while store.move_some().await.unwrap() > 0 {}
    assert_eq!((setting.totals()["page"], setting.messages().await), (5, 5));
    let consumer = jetstream.get_stream("views").await.unwrap().consumer_info("totals").await.unwrap();
    assert_eq!(consumer.ack_floor.stream_sequence, 5);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let port = test_servers::free_port();
    let connected: Result<NatsStore<String, Sum<i64>, ()>, _> =
        NatsStore::connect(format!("nats://127.0.0.1:{port}"), BatchStream::new("views"), ()).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, Error::Nats(_)) && error.to_string().contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_nats_refuses_are_an_error_at_the_start() {
    let Some(setting) = Setting::new() else { return };
    for stream in [
        BatchStream::new("two words"),
        BatchStream::new("views").replicas(9),
        BatchStream::new("views").duplicate_window(Duration::from_nanos(1)),
    ] {
        let connected = NatsStore::connect(setting.url(), stream.clone(), setting.behind()).await;
        let connected: Result<NatsStore<String, Sum<i64>, _>, _> = connected;
        assert!(connected.is_err(), "{stream:?}");
    }
}
