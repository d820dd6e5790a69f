//! Sums are exact under many clients and several processes, and at every read.

use std::collections::BTreeMap;

use test_servers::{PostgresServer, eventually};

use crate::database::{Database, with_each_database};
use crate::load::{Load, Tally};
use crate::service::Home;

fn assert_exact(tally: &Tally, database: &Database) {
    assert_eq!(tally.refused, Vec::<String>::new());
    assert_eq!(tally.unanswered, BTreeMap::new());
    assert!(!tally.accepted.is_empty());
    assert_eq!(database.counters(), tally.accepted);
}

#[test]
fn thirty_two_clients_add_up_exactly() {
    with_each_database(|home, database| {
        let service = home.start(&["--database", &database.url(), "--interval", "20ms", "--jitter", "20ms"]);
        let client = service.client();
        let load = Load::start(&[&service.url]);
        eventually("there was enough to do", || (client.stat("flushed") > 3_000).then_some(()));
        let tally = load.stop();
        assert_eq!(client.stat("failures"), 0);
        service.stop();
        assert_exact(&tally, database);
    });
}

#[test]
fn several_processes_share_a_database_without_deadlock_or_loss() {
    with_each_database(|home, database| {
        let options = ["--database", &database.url(), "--interval", "10ms"];
        let services = [home.start(&options), home.start(&options), home.start(&options)];
        let urls = services.each_ref().map(|service| service.url.as_str());
        let load = Load::start(&urls);
        for service in &services {
            let client = service.client();
            eventually("each has had enough to do", || (client.stat("flushed") > 500).then_some(()));
        }
        let tally = load.stop();
        for service in services {
            assert_eq!(service.client().stat("failures"), 0, "no deadlocks");
            service.stop();
        }
        assert_exact(&tally, database);
    });
}

#[test]
fn batches_of_several_processes_that_overlap_never_deadlock() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let options = ["--database", &server.url(), "--interval", "1h", "--partitions", "1"];
    // Out of order, two would deadlock half of the time, six nearly always.
    let mut services: Vec<_> = (0..6).map(|_| home.start(&options)).collect();
    for service in &services {
        let client = service.client();
        (0..100).for_each(|key| client.increment(&format!("key {key}"), 1));
    }
    // Somebody has a row in the middle, so that all batches get stuck half-way.
    let (blocker, observer) = (server.client(), server.client());
    blocker.execute("begin", &[]);
    blocker.execute("insert into counters values ('key 50', 0)", &[]);
    services.iter().for_each(|service| service.signal("TERM"));
    eventually("all are stuck", || {
        let stuck = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        (observer.number(stuck) == 6).then_some(())
    });
    blocker.execute("commit", &[]);
    for service in &mut services {
        assert_eq!(service.wait().0, Some(0));
    }
    assert!(!server.log().contains("deadlock"), "{}", server.log());
    let counters = (0..100).map(|key| (format!("key {key}"), 6)).collect();
    assert_eq!(Database::Postgres(Box::new(server)).counters(), counters);
}

#[test]
fn a_read_is_exact_at_every_moment_of_a_flush() {
    with_each_database(|home, database| {
        let service = home.start(&["--database", &database.url(), "--interval", "1ms"]);
        let client = service.client();
        for total in 1..=500 {
            client.increment("k", 1);
            assert_eq!(client.total("k"), Some(total));
        }
        service.stop();
        assert_eq!(database.counters(), BTreeMap::from([("k".to_owned(), 500)]));
    });
}

#[test]
fn persisted_and_pending_are_told_apart() {
    let home = Home::new();
    let service = home.start(&["--interval", "1h", "--flush-at-count", "3"]);
    let client = service.client();
    client.increment("k", 5);
    client.increment("k", -1);
    let counter = client.counter("k").json();
    assert_eq!(counter, serde_json::json!({"key": "k", "persisted": 0, "pending": 4, "total": 4}));
    client.increment("k", 10);
    let counter = eventually("the third increment flushes", || {
        let counter = client.counter("k").json();
        (counter["pending"] == 0).then_some(counter)
    });
    assert_eq!(counter, serde_json::json!({"key": "k", "persisted": 14, "pending": 0, "total": 14}));
    service.stop();
}

#[test]
fn sync_mode_stores_before_it_answers_and_noop_mode_never() {
    with_each_database(|home, database| {
        let service = home.start(&["--database", &database.url(), "--mode", "sync"]);
        let load = Load::start(&[&service.url]);
        let client = service.client();
        client.increment("alone", i64::MAX);
        assert_eq!(database.counters()["alone"], i64::MAX);
        let refused = client.try_increment("alone", 1).unwrap();
        assert_eq!((refused.status, database.counters()["alone"]), (422, i64::MAX), "{refused:?}");
        let mut tally = load.stop();
        tally.accepted.insert("alone".to_owned(), i64::MAX);
        service.stop();
        assert_exact(&tally, database);

        let service = home.start(&["--database", &database.url(), "--mode", "noop"]);
        service.client().increment("nothing", 1);
        assert_eq!(service.client().total("nothing"), None);
        service.stop();
        assert_exact(&tally, database);
    });
}
