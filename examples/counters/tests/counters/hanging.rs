//! The database is there and does not answer: what waits for it is cancelled.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use test_servers::{PostgresServer, Proxy, SqlClient, eventually};

use crate::database::Database;
use crate::http::Client;
use crate::service::{Home, Service};

/// Flushes every increment at once.
const IMPATIENT: [&str; 6] = ["--interval", "1h", "--flush-at-count", "1", "--flush-timeout", "200ms"];

fn start(home: &Home, url: &str) -> Service {
    home.start(&[&["--database", url], &IMPATIENT[..]].concat())
}

fn settled(client: &Client) {
    eventually("everything is stored", || {
        (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
    });
}

/// Somebody who is about to write the counter `k`, until `commit`.
fn lock_row(server: &PostgresServer) -> SqlClient {
    let blocker = server.client();
    blocker.execute("begin", &[]);
    blocker.execute("insert into counters values ('k', 0)", &[]);
    blocker
}

/// Somebody for whose `commit` even reads must wait.
fn lock_table(server: &PostgresServer) -> SqlClient {
    let blocker = server.client();
    blocker.execute("begin", &[]);
    blocker.execute("lock table counters in access exclusive mode", &[]);
    blocker
}

/// How many statements wait for a lock.
fn stuck(observer: &SqlClient) -> i64 {
    observer.number("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
}

fn once(key: &str, value: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), value)])
}

#[test]
fn a_flush_that_hangs_is_cancelled_resent_and_counted_once() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let service = start(&home, &server.url());
    let client = service.client();
    let (observer, blocker) = (server.client(), lock_row(&server));
    client.increment("k", 7);
    eventually("it was sent again and again", || (client.stat("retries") >= 4).then_some(()));
    assert!(stuck(&observer) <= 2, "what was cancelled does not pile up at the server");
    assert_eq!(client.counter("k").json()["pending"], 7);
    let health = client.get("/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.error().contains("did not answer within 200ms"), "{health:?}");

    blocker.execute("commit", &[]);
    settled(&client);
    assert_eq!(client.counter("k").json()["persisted"], 7);
    assert_eq!(client.get("/healthz").status, 200);
    assert!(service.stop().contains("cannot write, will try again"));
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 7));
}

#[test]
fn an_attempt_that_was_cancelled_and_commits_after_all_counts_once() {
    let Some(server) = PostgresServer::start() else { return };
    let proxy = Proxy::start(server.port());
    proxy.lose_cancellations();
    let home = Home::new();
    let service = start(&home, &server.url_at(proxy.port()));
    let client = service.client();
    let (observer, blocker) = (server.client(), lock_row(&server));
    client.increment("k", 7);
    // The first waits for the row, and the others for what becomes of the first.
    eventually("several attempts are under way", || (stuck(&observer) >= 3).then_some(()));
    blocker.execute("commit", &[]);
    settled(&client);
    eventually("all have come to their end", || (stuck(&observer) == 0).then_some(()));
    assert_eq!(client.total("k"), Some(7));
    service.stop();
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 7));
}

#[test]
fn what_hangs_at_the_end_is_a_dead_letter_and_counts_once() {
    let Some(server) = PostgresServer::start() else { return };
    let proxy = Proxy::start(server.port());
    proxy.lose_cancellations();
    let (home, url) = (Home::new(), server.url_at(proxy.port()));
    let options = ["--database", &url, "--interval", "1h", "--shutdown-within", "300ms"];
    let mut service = home.start(&options);
    let (observer, blocker) = (server.client(), lock_row(&server));
    service.client().increment("k", 7);
    service.signal("TERM");
    eventually("it is being written", || (stuck(&observer) > 0).then_some(()));
    let (code, errors) = service.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert_eq!(home.dead_letters().len(), 1, "{errors}");

    blocker.execute("commit", &[]);
    eventually("it is written after all", || (stuck(&observer) == 0).then_some(()));
    let errors = home.start(&options).stop();
    assert!(errors.contains("0 dead letters applied, 1 had been already"), "{errors}");
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 7));
    assert_eq!(home.dead_letters(), Vec::<String>::new());
}

#[test]
fn a_flush_that_waits_for_the_sqlite_file_counts_once_and_holds_up_no_read() {
    let home = Home::new();
    let database = Database::sqlite(&home);
    let service = start(&home, &database.url());
    let client = service.client();
    let blocker = rusqlite::Connection::open(home.path("counters.sqlite")).unwrap();
    blocker.execute_batch("begin immediate").unwrap();
    let keys = ["a", "b", "c", "d"];
    keys.iter().for_each(|key| client.increment(key, 7));
    // More often than there are threads that may wait for SQLite.
    eventually("they were sent again and again", || (client.stat("retries") >= 20).then_some(()));
    assert_eq!(keys.map(|key| client.total(key)), [Some(7); 4]);

    blocker.execute_batch("commit").unwrap();
    settled(&client);
    assert_eq!(keys.map(|key| client.total(key)), [Some(7); 4]);
    service.stop();
    assert_eq!(database.counters(), keys.map(|key| (key.to_owned(), 7)).into());
}

/// As many connections as the service has, at most.
const CONNECTIONS: i64 = 16;

/// Asks for a counter, more often than there are connections, and does not wait for the answers.
fn ask(service: &Service) -> Vec<TcpStream> {
    let address = service.url.strip_prefix("http://").unwrap();
    let ask = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /counters/k HTTP/1.1\r\nhost: counters\r\n\r\n").unwrap();
        stream
    };
    (0..CONNECTIONS + 4).map(ask).collect()
}

#[test]
fn clients_that_hang_up_leave_nothing_at_the_server() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let service = start(&home, &server.url());
    let (observer, blocker) = (server.client(), lock_table(&server));
    for _ in 0..3 {
        let clients = ask(&service);
        eventually("all connections are in use", || (stuck(&observer) == CONNECTIONS).then_some(()));
        drop(clients);
        eventually("nothing waits any more", || (stuck(&observer) == 0).then_some(()));
    }
    blocker.execute("commit", &[]);
    let client = service.client();
    client.increment("k", 7);
    assert_eq!(client.total("k"), Some(7));
    service.stop();
}

#[test]
fn connections_that_broke_at_work_or_at_rest_are_replaced() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let service = start(&home, &server.url());
    let client = service.client();
    client.increment("k", 7);
    settled(&client);
    for _ in 0..2 {
        let (observer, blocker) = (server.client(), lock_table(&server));
        let clients = ask(&service);
        eventually("all connections are in use", || (stuck(&observer) == CONNECTIONS).then_some(()));
        drop((observer, blocker));
        server.control("restart");
        drop(clients);
        assert_eq!(client.total("k"), Some(7));

        server.control("restart");
        assert_eq!(client.total("k"), Some(7));
    }
    client.increment("k", 7);
    settled(&client);
    assert_eq!(client.stat("failures"), 0, "no flush had to find out");
    service.stop();
    assert_eq!(Database::Postgres(Box::new(server)).counters(), once("k", 14));
}
