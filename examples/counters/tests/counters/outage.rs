//! The database goes away and comes back.

use test_servers::{PostgresServer, eventually};

use crate::database::Database;
use crate::load::Load;
use crate::service::Home;

fn postgres() -> Option<(Box<PostgresServer>, String)> {
    let server = Box::new(PostgresServer::start()?);
    let url = server.url();
    Some((server, url))
}

#[test]
fn restarts_of_postgres_under_load_cost_no_request_and_no_increment() {
    let Some((server, url)) = postgres() else { return };
    let home = Home::new();
    let service = home.start(&["--database", &url, "--interval", "20ms"]);
    let client = service.client();
    let load = Load::start(&[&service.url]);
    for _ in 0..3 {
        let before = client.stat("flushed");
        eventually("it goes well", || (client.stat("flushed") > before + 500).then_some(()));
        server.control("restart");
    }
    let before = client.stat("flushed");
    eventually("it goes well again", || (client.stat("flushed") > before + 500).then_some(()));
    let tally = load.stop();
    assert!(client.stat("failures") > 0, "the restarts were noticed");
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(tally.unanswered.is_empty());
    service.stop();
    assert_eq!(Database::Postgres(server).counters(), tally.accepted);
}

#[test]
fn while_the_database_is_down_requests_are_accepted_up_to_the_bound() {
    let Some((server, url)) = postgres() else { return };
    let home = Home::new();
    let service = home.start(&["--database", &url, "--interval", "20ms", "--max-keys", "3"]);
    let client = service.client();
    client.increment("a", 1);
    eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
    assert_eq!(client.get("/healthz").status, 200);

    server.control("stop");
    ["a", "b", "c"].iter().for_each(|key| client.increment(key, 10));
    let full = client.try_increment("d", 10).unwrap();
    assert_eq!((full.status, full.retry_after), (503, Some(1)), "{full:?}");
    client.increment("a", 100);
    let health =
        eventually("it notices", || Some(client.get("/healthz")).filter(|health| health.status == 503));
    assert_eq!(health.json()["status"], "degraded");
    assert!(health.json()["error"].as_str().unwrap().contains("refused"), "{health:?}");
    let read = client.counter("a");
    assert_eq!(read.status, 503, "what is stored is not known: {read:?}");

    server.control("start");
    eventually("everything arrives", || {
        (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
    });
    assert_eq!(client.get("/healthz").json(), serde_json::json!({"status": "ok"}));
    assert_eq!(client.total("a"), Some(111));
    client.increment("d", 10);
    service.stop();
    let expected = [("a", 111), ("b", 10), ("c", 10), ("d", 10)];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(Database::Postgres(server).counters(), expected.into());
}
