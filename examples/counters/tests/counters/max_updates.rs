//! `--max-updates`: everything is written when so much is waiting, and a writer that breaks loses
//! nothing of it.

use std::collections::BTreeMap;

use test_servers::{PostgresServer, eventually};

use crate::database::{Database, with_each_database};
use crate::reading_clients::ReadingClients;
use crate::service::Home;

#[test]
fn everything_is_written_when_so_many_updates_are_waiting_and_not_before() {
    with_each_database(|home, database| {
        let options = ["--database", &database.url(), "--polling-time", "1h", "--max-updates", "100"];
        let service = home.start(&options);
        let client = service.client();
        (0..99).for_each(|number| client.increment(&format!("key {}", number % 10), 1));
        assert_eq!((client.stat("pending"), client.stat("batches")), (99, 0));
        client.increment("key 9", 1);
        eventually("all is stored", || (client.stat("flushed") == 100).then_some(()));
        client.increment("key 9", 1);
        let counters = (0..10).map(|key| (format!("key {key}"), 10)).collect();
        assert_eq!(database.counters(), counters, "the next one waits for company");
        service.stop();
    });
}

#[test]
fn a_writer_whose_connections_are_killed_loses_nothing_and_reads_stay_exact() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let url = server.url();
    let options = ["--database", &url, "--hydrate", "--interval", "1h", "--max-updates", "1000"];
    let service = home.start(&options);
    let (client, killer, blocker) = (service.client(), server.client(), server.client());
    let clients = ReadingClients::start(&service.url, &BTreeMap::new());
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where application_name = 'counters' and wait_event_type = 'Lock'";
    for round in 1..=5 {
        eventually("it goes well", || (client.stat("flushed") > round * 2_000).then_some(()));
        let failures = client.stat("failures");
        // Somebody has a row in the middle, so that the writer is killed half-way.
        blocker.execute("begin", &[]);
        blocker.execute("update counters set value = value where key = 'shared'", &[]);
        eventually("a writer was killed", || (killer.number(kill) > 0).then_some(()));
        eventually("that was noticed", || (client.stat("failures") > failures).then_some(()));
        blocker.execute("commit", &[]);
    }
    let totals = clients.stop(&BTreeMap::new());
    for (key, total) in &totals {
        assert_eq!(client.total(key), Some(*total), "{key}");
    }
    service.stop();
    assert_eq!(Database::Postgres(Box::new(server)).counters(), totals);
}
