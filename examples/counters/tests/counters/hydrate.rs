//! `--hydrate`: totals are loaded at the start and read from memory, exactly.

use std::collections::BTreeMap;

use test_servers::{PostgresServer, SqlClient, eventually};

use crate::database::{Database, with_each_database};
use crate::reading_clients::ReadingClients;
use crate::service::Home;

fn once(key: &str, value: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), value)])
}

/// How many sessions the services have.
fn sessions(observer: &SqlClient) -> i64 {
    observer.number("select count(*) from pg_stat_activity where application_name = 'counters'")
}

#[test]
fn sixteen_clients_read_exact_totals_and_the_next_process_continues_them() {
    with_each_database(|home, database| {
        let url = database.url();
        let options = ["--database", &url, "--hydrate", "--interval", "10ms", "--jitter", "10ms"];
        let mut totals = BTreeMap::<String, i64>::new();
        for _ in 0..2 {
            let service = home.start(&options);
            let client = service.client();
            for (key, total) in &totals {
                assert_eq!(client.total(key), Some(*total), "{key}, right after the start");
            }
            let clients = ReadingClients::start(&service.url, &totals);
            eventually("there was enough to do", || (client.stat("flushed") > 2_000).then_some(()));
            totals = clients.stop(&totals);
            assert_eq!(client.stat("failures"), 0);
            service.stop();
            assert_eq!(database.counters(), totals);
        }
    });
}

#[test]
fn reads_are_answered_exactly_while_the_database_is_down() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let service = home.start(&["--database", &url]);
    service.client().increment("old", 40);
    service.stop();

    let options = ["--database", &url, "--hydrate", "--interval", "1h", "--max-updates", "2"];
    let service = home.start(&options);
    let client = service.client();
    ["old", "new"].iter().for_each(|key| client.increment(key, 1));
    eventually("they are stored", || (client.stat("flushed") == 2).then_some(()));
    server.control("stop");
    ["old", "new"].iter().for_each(|key| client.increment(key, 1));
    eventually("they are in flight", || (client.stat("failures") > 0).then_some(()));
    client.increment("old", 1);
    let old = serde_json::json!({"key": "old", "persisted": 41, "pending": 2, "total": 43});
    assert_eq!(client.counter("old").json(), old);
    assert_eq!(client.total("new"), Some(2));
    assert_eq!(client.total("never seen"), None);

    server.control("start");
    eventually("they are stored, too", || (client.stat("flushed") == 4).then_some(()));
    let old = serde_json::json!({"key": "old", "persisted": 42, "pending": 1, "total": 43});
    assert_eq!(client.counter("old").json(), old);
    service.stop();
    let counters = Database::Postgres(Box::new(server)).counters();
    assert_eq!(counters, [("old".to_owned(), 43), ("new".to_owned(), 2)].into());
}

#[test]
fn what_a_killed_predecessor_was_writing_is_part_of_what_is_loaded() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let first = home.start(&["--database", &url, "--interval", "1h", "--flush-at-count", "1"]);
    let (observer, blocker) = (server.client(), server.client());
    blocker.execute("begin", &[]);
    blocker.execute("insert into counters values ('k', 0)", &[]);
    first.client().increment("k", 7);
    let stuck = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    eventually("it is being written", || (observer.number(stuck) == 1).then_some(()));
    first.kill();
    eventually("only that is left of it", || (sessions(&observer) == 1).then_some(()));

    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| home.start(&["--database", &url, "--hydrate"]));
        let waits = "select count(*) from pg_stat_activity where application_name = 'counters'
                     and query like '%pg_stat_activity%'";
        let mut looks = 0;
        eventually("its successor keeps waiting, or does not", || {
            looks += observer.number(waits);
            (looks >= 5 || second.is_finished()).then_some(())
        });
        blocker.execute("commit", &[]);
        second.join().unwrap()
    });
    assert_eq!(second.client().total("k"), Some(7));
    assert_says_no_more_than_that_it_stops(&second.stop());
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 7));
}

#[test]
fn a_batch_that_is_stored_and_sent_again_counts_once_at_every_read() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let options = ["--hydrate", "--interval", "1h", "--flush-at-count", "1", "--flush-timeout", "200ms"];
    let service = home.start(&[&["--database", &url], &options[..]].concat());
    let client = service.client();
    // Batches go past this; the pruning that follows some of them does not.
    let blocker = server.client();
    blocker.execute("begin", &[]);
    blocker.execute("select instance from counter_writers for share", &[]);
    let mut total = 0;
    eventually("a batch is sent again", || {
        total += 1;
        client.increment("k", 1);
        assert_eq!(client.total("k"), Some(total));
        (client.stat("retries") > 0).then_some(())
    });
    blocker.execute("commit", &[]);
    eventually("all is stored", || (client.stat("pending") + client.stat("in_flight") == 0).then_some(()));
    assert_eq!(client.total("k"), Some(total));
    service.stop();
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", total));
}

#[test]
fn with_two_writers_reads_lag_and_sums_stay_exact() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let options = ["--database", &url, "--hydrate", "--interval", "1h", "--max-updates", "1"];
    let services = [home.start(&options), home.start(&options)];
    let clients = services.each_ref().map(|service| service.client());
    clients[0].increment("k", 1);
    clients[1].increment("k", 10);
    for client in &clients {
        eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
    }
    assert_eq!(clients.map(|client| client.total("k")), [Some(1), Some(10)]);
    let said = services.map(|service| service.stop());
    assert_says_no_more_than_that_it_stops(&said[0]);
    assert!(said[1].contains("--hydrate is for its only writer"), "{}", said[1]);
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 11));
}

fn assert_says_no_more_than_that_it_stops(errors: &str) {
    assert!(errors.lines().count() == 1 && errors.ends_with("stopping\n"), "{errors}");
}
