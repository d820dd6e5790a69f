//! `--journal`: what is in memory is on disk too, and the next process goes on with it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use test_servers::{PostgresServer, Proxy, Spoil, eventually};

use crate::database::{Database, with_each_database};
use crate::http::Client;
use crate::service::{Home, run};

const JOURNAL: [&str; 4] = ["--journal", "counters-data/the.journal", "--ack", "durable"];
const NEVER: [&str; 4] = ["--interval", "1h", "--shutdown-within", "1h"];

fn found(client: &Client) -> u64 {
    client.get("/stats").json()["journal"]["found"]["inserts"].as_u64().unwrap()
}

fn totals<const N: usize>(totals: [(&str, i64); N]) -> BTreeMap<String, i64> {
    totals.map(|(key, total)| (key.to_owned(), total)).into()
}

#[test]
fn what_was_answered_is_there_after_a_kill_and_everywhere_to_be_seen() {
    with_each_database(|home, database| {
        let url = database.url();
        let options = [&["--database", &url], &JOURNAL[..], &NEVER].concat();
        let service = home.start(&options);
        let client = service.client();
        assert_eq!(found(&client), 0);
        [("a", 1), ("a", 2), ("b", 3)].iter().for_each(|(key, value)| client.increment(key, *value));
        service.kill();

        let service = home.start(&options);
        let client = service.client();
        assert_eq!((client.total("a"), client.total("b")), (Some(3), Some(3)));
        let found = json!({ "epoch": 2, "keys": 2, "inserts": 3, "batches": 0 });
        for path in ["/stats", "/status", "/healthz"] {
            let journal = &client.get(path).json()["journal"];
            assert_eq!((&journal["found"], &journal["failures"]), (&found, &json!(0)), "{path}");
        }
        let metrics = client.get("/metrics").body;
        assert!(metrics.contains("\ncounters_journal_found_increments 3\n"), "{metrics}");
        assert!(metrics.contains("\ncounters_journal_failing_seconds 0\n"), "{metrics}");
        let errors = service.stop();
        assert!(errors.contains("start 2: found 3 increments of 2 keys, 0 batches"), "{errors}");
        assert_eq!(database.counters(), totals([("a", 3), ("b", 3)]));
    });
}

#[test]
fn what_was_accepted_is_in_the_journal_a_moment_later() {
    let home = Home::new();
    let options = [&JOURNAL[..2], &NEVER].concat();
    let service = home.start(&options);
    let client = service.client();
    client.increment("k", 7);
    eventually("it is written", || (client.get("/stats").json()["journal"]["commits"] == 1).then_some(()));
    service.kill();
    let service = home.start(&options);
    assert_eq!(service.client().total("k"), Some(7));
    service.stop();
}

#[test]
fn the_end_waits_for_no_database_that_is_away() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let options = [&["--database", &url], &JOURNAL[..]].concat();
    for (interval, noticed) in [("1h", false), ("20ms", true)] {
        let options = [&options[..], &["--interval", interval, "--shutdown-within", "1h"]].concat();
        let mut service = home.start(&options);
        let client = service.client();
        server.control("stop");
        client.increment("k", 1);
        if noticed {
            eventually("it is noticed", || (client.get("/healthz").status == 503).then_some(()));
        }
        service.signal("TERM");
        let (code, errors) = service.wait();
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.contains("1 increments stay in the journal"), "{errors}");
        assert_eq!(home.dead_letters(), Vec::<String>::new());
        server.control("start");
        let service = home.start(&options);
        assert_eq!(found(&service.client()), 1);
        service.stop();
    }
    assert_eq!(Database::Postgres(Box::new(server)).counters(), totals([("k", 2)]));
}

#[test]
fn the_end_writes_everything_to_a_database_that_is_there() {
    with_each_database(|home, database| {
        let url = database.url();
        let options = [&["--database", &url], &JOURNAL[..], &NEVER].concat();
        let service = home.start(&options);
        let client = service.client();
        (0..100).for_each(|key| client.increment(&format!("key {key}"), 1));
        let errors = service.stop();
        assert!(!errors.contains("stay in the journal"), "{errors}");
        assert_eq!(database.counters().len(), 100);
        let service = home.start(&options);
        assert_eq!(found(&service.client()), 0);
        service.stop();
    });
}

#[test]
fn while_the_journal_cannot_be_written_each_answer_says_whether_the_increment_counts() {
    let home = Home::new();
    let options = [&JOURNAL[..], &NEVER].concat();
    let service = home.start(&options);
    let client = service.client();
    client.increment("k", 1);
    service.limit_files(Some(4_096));

    let in_doubt = client.try_increment("k", 10).unwrap();
    assert_eq!((in_doubt.status, in_doubt.retry_after), (503, None), "{in_doubt:?}");
    assert_eq!(in_doubt.json()["accepted"], true);
    assert!(in_doubt.error().contains("accepted, but not known to be durable"), "{in_doubt:?}");
    let refused = client.try_increment("k", 100).unwrap();
    assert_eq!((refused.status, refused.retry_after), (503, Some(1)), "{refused:?}");
    assert_eq!(refused.json()["accepted"], false);
    assert_eq!(refused.error(), "the journal cannot be written");
    let health = client.get("/healthz");
    assert_eq!(health.status, 503);
    assert!(health.error().contains("the.journal") && health.error().contains("large"), "{health:?}");
    assert!(health.json()["journal"]["failing_ms"].is_u64(), "{health:?}");

    service.limit_files(None);
    eventually("it is written again", || (client.get("/healthz").status == 200).then_some(()));
    client.increment("k", 1_000);
    service.kill();
    let service = home.start(&options);
    assert_eq!(service.client().total("k"), Some(1_011));
    service.stop();
    assert_eq!(Database::sqlite(&home).counters(), totals([("k", 1_011)]));
}

#[test]
fn what_a_journal_could_not_take_at_the_end_is_in_the_dead_letters_and_counts_once() {
    let home = Home::new();
    let options = [&JOURNAL[..], &["--interval", "1h", "--shutdown-within", "1s"]].concat();
    let mut service = home.start(&options);
    let client = service.client();
    client.increment("k", 1);
    service.limit_files(Some(4_096));
    assert_eq!(client.try_increment("k", 10).unwrap().json()["accepted"], true);
    service.signal("TERM");
    let (code, errors) = service.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("the.journal.failed"), "{errors}");
    assert_eq!(home.dead_letters().len(), 1);
    assert!(!fs::exists(home.path("the.journal")).unwrap());
    home.start(&options).stop();
    assert_eq!(Database::sqlite(&home).counters(), totals([("k", 11)]));
}

#[test]
fn nor_does_what_may_have_been_stored_count_twice_when_the_journal_fails_as_well() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let (proxy, url) = (Proxy::start(server.port()), server.url());
    let through_proxy = server.url_at(proxy.port());
    // The second start of its journal.
    home.start(&[&["--database", &url], &JOURNAL[..]].concat()).stop();
    let common = [&JOURNAL[..], &["--interval", "1h", "--flush-at-count", "1"]].concat();
    let mut service = home.start(&[&["--database", &through_proxy], &common[..]].concat());
    let client = service.client();
    client.increment("first", 1);
    eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
    proxy.close();
    proxy.spoil_next(Spoil::LoseAnswer);
    client.increment("stored", 1);
    eventually("the answer is lost", || (client.stat("failures") > 0).then_some(()));
    service.limit_files(Some(4_096));
    assert_eq!(client.try_increment("in memory", 10).unwrap().json()["accepted"], true);
    service.signal("TERM");
    let (code, errors) = service.wait();
    assert_eq!((code, home.dead_letters().len()), (Some(1), 2), "{errors}");

    let errors = home.start(&[&["--database", &url], &common[..]].concat()).stop();
    assert!(errors.contains("1 dead letters applied, 1 had been already"), "{errors}");
    let counters = Database::Postgres(Box::new(server)).counters();
    assert_eq!(counters, totals([("first", 1), ("stored", 1), ("in memory", 10)]));
}

#[test]
fn a_batch_that_was_stored_before_a_kill_counts_once_at_every_read() {
    let Some(server) = PostgresServer::start() else { return };
    for hydrate in [false, true] {
        let home = Home::new();
        let (proxy, url) = (Proxy::start(server.port()), server.url());
        let through_proxy = server.url_at(proxy.port());
        let common = [&JOURNAL[..], &["--interval", "1h", "--flush-at-count", "1"]].concat();
        let service = home.start(&[&["--database", &through_proxy], &common[..]].concat());
        let client = service.client();
        client.increment("first", 1);
        eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
        proxy.close();
        proxy.spoil_next(Spoil::LoseAnswer);
        let key = format!("hydrate: {hydrate}");
        client.increment(&key, 1);
        eventually("the answer is lost", || (client.stat("failures") > 0).then_some(()));
        service.kill();

        let hydrate = if hydrate { &["--hydrate"][..] } else { &[] };
        let service = home.start(&[&["--database", &url], &common[..], hydrate].concat());
        let client = service.client();
        assert_eq!(client.total(&key), Some(1));
        client.increment(&key, 10);
        assert_eq!(client.total(&key), Some(11));
        let errors = service.stop();
        assert!(errors.contains("found 1 increments of 1 keys, 1 batches"), "{errors}");
        let observer = server.client();
        assert_eq!(observer.number(&format!("select value from counters where key = '{key}'")), 11);
    }
}

#[test]
fn a_journal_has_one_process() {
    let home = Home::new();
    let service = home.start(&JOURNAL);
    let (code, text) = run(&home, &JOURNAL);
    assert_eq!(code, Some(2));
    assert!(text.contains("the.journal is in use by another buffer or process"), "{text}");
    service.stop();
}
