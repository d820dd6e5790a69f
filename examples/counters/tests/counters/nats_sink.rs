//! `--sink nats`: batches go through a JetStream stream to Postgres.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use test_servers::{PostgresServer, Server, eventually};
use tokio::runtime::Runtime;

use crate::database::Database;
use crate::http::Client;
use crate::kills::{Course, assert_exact};
use crate::load::Load;
use crate::service::{Home, Service};

const SUBJECT: &str = "counters.batches";
/// A batch of nobody.
const LOST: &str = r#"{"id":"0000000000000001-2","entries":[{"key":"lost","data":3,"count":1}]}"#;

struct Setting {
    home: Home,
    nats: Server,
    url: String,
    database: Database,
}

impl Setting {
    fn new() -> Option<Self> {
        let nats = Server::start("nats-server", |port| {
            let port = port.to_string();
            ["-js", "-sd", "stream", "-a", "127.0.0.1", "-p", &port].map(str::to_owned).into()
        })?;
        let url = format!("nats://127.0.0.1:{}", nats.port());
        Some(Setting { home: Home::new(), nats, url, database: Database::postgres()? })
    }

    fn start(&self, options: &[&str]) -> (Service, Client) {
        let database = self.database.url();
        let common = ["--sink", "nats", "--nats", &self.url, "--database", &database];
        let service = self.home.start(&[&common, options].concat());
        let client = service.client();
        (service, client)
    }

    fn postgres(&self) -> &PostgresServer {
        let Database::Postgres(server) = &self.database else { unreachable!() };
        server
    }

    /// How many messages the stream has.
    fn messages(&self, runtime: &Runtime) -> u64 {
        runtime.block_on(async {
            let jetstream = async_nats::jetstream::new(async_nats::connect(&self.url).await.unwrap());
            let mut stream = jetstream.get_stream("counters").await.unwrap();
            stream.info().await.unwrap().state.messages
        })
    }

    fn await_empty_stream(&self, runtime: &Runtime) {
        eventually("the stream has been moved", || (self.messages(runtime) == 0).then_some(()));
    }
}

/// `to` has the files of `from` and no others.
fn copy_files(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Publishes a copy of each batch without the id by which the stream would know it, as if it came after
/// the duplicate window. Counts them.
fn copy_everything(runtime: &Runtime, url: &str) -> Arc<AtomicU64> {
    let copies = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&copies);
    let (client, mut batches) = runtime.block_on(async {
        let client = async_nats::connect(url).await.unwrap();
        let batches = client.subscribe(SUBJECT).await.unwrap();
        client.flush().await.unwrap();
        (client, batches)
    });
    runtime.spawn(async move {
        while let Some(batch) = batches.next().await {
            if batch.headers.is_some() {
                client.publish(SUBJECT, batch.payload).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    copies
}

#[test]
fn batches_sent_twice_through_a_restart_of_nats_add_up_exactly() {
    let Some(mut setting) = Setting::new() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (service, client) = setting.start(&["--interval", "20ms", "--send-twice"]);
    let copies = copy_everything(&runtime, &setting.url);
    let load = Load::start(&[&service.url]);
    for restart in [true, false] {
        let (before, copied) = (client.stat("flushed"), copies.load(Ordering::Relaxed));
        eventually("it goes well, and is copied", || {
            let copied = copies.load(Ordering::Relaxed) > copied + 50;
            (copied && client.stat("flushed") > before + 500).then_some(())
        });
        if restart {
            setting.nats.kill();
            eventually("it is noticed", || (client.stat("failures") > 0).then_some(()));
            setting.nats.restart();
        }
    }
    let tally = load.stop();
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(tally.unanswered.is_empty());
    eventually("all is flushed", || (client.stat("pending") + client.stat("in_flight") == 0).then_some(()));
    setting.await_empty_stream(&runtime);
    for (key, total) in &tally.accepted {
        assert_eq!(client.total(key), Some(*total));
    }
    service.stop();
    assert_eq!(setting.home.dead_letters(), Vec::<String>::new());
    let left = ["counter_log", "counter_fates", "counter_writers"];
    assert_eq!(left.map(|table| setting.database.count(table)), [0; 3]);
    assert_eq!(setting.database.counters(), tally.accepted);
}

#[test]
fn while_postgres_is_away_the_stream_keeps_what_was_flushed_even_by_a_process_that_is_killed() {
    let Some(setting) = Setting::new() else { return };
    let options = ["--interval", "1h", "--flush-at-count", "1"];
    let (service, client) = setting.start(&options);
    setting.postgres().control("stop");
    for flushed in 1..=200 {
        client.increment("k", 1);
        eventually("it is in the stream", || (client.stat("flushed") == flushed).then_some(()));
    }
    let health =
        eventually("it notices", || Some(client.get("/healthz")).filter(|health| health.status == 503));
    assert!(health.body.contains("refused"), "{health:?}");
    service.kill();
    setting.postgres().control("start");
    let (service, client) = setting.start(&options);
    eventually("it is moved", || (client.total("k") == Some(200)).then_some(()));
    assert_eq!(client.get("/healthz").status, 200);
    service.stop();
    assert_eq!(setting.database.counters(), [("k".to_owned(), 200)].into());
}

/// A killed server can remember that messages were acknowledged and not that they were removed. And the
/// database need not have them, if it was set back too.
#[test]
fn messages_that_a_stream_forgot_to_remove_count_once_and_go_away() {
    let Some(mut setting) = Setting::new() else { return };
    let runtime = Runtime::new().unwrap();
    let options = ["--interval", "1h", "--flush-at-count", "1"];
    let (service, client) = setting.start(&options);
    setting.postgres().control("stop");
    for flushed in 1..=5 {
        client.increment("k", 1);
        eventually("it is in the stream", || (client.stat("flushed") == flushed).then_some(()));
    }
    service.kill();
    setting.nats.stop();
    let messages = setting.nats.directory().join("stream/jetstream/$G/streams/counters/msgs");
    let copy = setting.nats.directory().join("copy");
    copy_files(&messages, &copy);
    setting.nats.bring_up();
    setting.postgres().control("start");
    let (service, _) = setting.start(&options);
    setting.await_empty_stream(&runtime);
    service.kill();
    for set_back in [false, true] {
        if set_back {
            let database = setting.postgres().client();
            database.execute("truncate counters, counter_log, counter_fates", &[]);
        }
        setting.nats.stop();
        copy_files(&copy, &messages);
        setting.nats.bring_up();
        assert_eq!(setting.messages(&runtime), 5);
        let (service, client) = setting.start(&options);
        setting.await_empty_stream(&runtime);
        eventually("it is folded", || (client.total("k") == Some(5)).then_some(()));
        service.kill();
    }
}

#[test]
fn a_batch_that_waits_in_the_stream_is_not_taken_for_settled() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start(&["--interval", "1h", "--flush-at-count", "1"]);
    let blocker = setting.postgres().client();
    blocker.execute("begin", &[]);
    blocker.execute("lock table counter_log in access exclusive mode", &[]);
    for flushed in 1..=200 {
        client.increment("k", 1);
        eventually("it is in the stream", || (client.stat("flushed") == flushed).then_some(()));
    }
    blocker.execute("commit", &[]);
    eventually("it is moved", || (client.total("k") == Some(200)).then_some(()));
    service.stop();
    assert_eq!(setting.database.counters(), [("k".to_owned(), 200)].into());
}

#[test]
fn what_is_recorded_of_moved_batches_stays_bounded() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start(&["--interval", "1h", "--flush-at-count", "1"]);
    for total in 1..=300 {
        client.increment("k", 1);
        eventually("it is moved", || (client.total("k") == Some(total)).then_some(()));
    }
    let records = setting.database.count("counter_fates");
    assert!((1..=140).contains(&records), "{records} records");
    service.stop();
}

#[test]
fn a_batch_too_large_for_a_message_is_split() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start(&["--interval", "1h", "--partitions", "1"]);
    // Six bytes of JSON for each of these, so that all are more than the megabyte that NATS takes.
    let long = "\u{1}".repeat(500);
    let keys: Vec<_> = (0..500).map(|number| format!("{long}{number}")).collect();
    keys.iter().for_each(|key| client.increment(key, 1));
    service.stop();
    assert_eq!(setting.home.dead_letters(), Vec::<String>::new());
    assert_eq!(setting.database.counters(), keys.into_iter().map(|key| (key, 1)).collect());
}

#[test]
fn a_message_that_is_no_batch_holds_up_nothing() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start(&["--interval", "1h", "--flush-at-count", "1"]);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(&setting.url).await.unwrap();
        client.publish(SUBJECT, "hello".into()).await.unwrap();
        client.publish(SUBJECT, LOST.into()).await.unwrap();
        client.flush().await.unwrap();
    });
    client.increment("k", 1);
    setting.await_empty_stream(&runtime);
    eventually("it is moved", || (client.total("k") == Some(1)).then_some(()));
    let errors = service.stop();
    for left_out in ["it is no batch", "hello", "its batch was settled long ago", "lost"] {
        assert!(errors.contains(left_out), "{left_out}: {errors}");
    }
    assert_eq!(setting.database.counters(), [("k".to_owned(), 1)].into());
}

#[test]
fn with_a_journal_what_was_acknowledged_counts_once_however_often_the_service_is_killed() {
    let Some(setting) = Setting::new() else { return };
    let runtime = Runtime::new().unwrap();
    let database = setting.database.url();
    let options = &["--sink", "nats", "--nats", &setting.url, "--database", &database, "--ack", "durable"];
    let arrived = &|| setting.await_empty_stream(&runtime);
    let totals = &|| setting.database.counters();
    assert_exact(&Course { name: "nats", home: &setting.home, options, arrived, totals }.run());
}
