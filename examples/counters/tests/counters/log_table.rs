//! `--sink log-table`: deltas are appended to a log and folded into the totals afterwards.

use std::collections::BTreeMap;

use test_servers::{PostgresServer, eventually};

use crate::database::Database;
use crate::load::Load;
use crate::service::Home;

fn options(url: &str) -> [&str; 6] {
    ["--database", url, "--sink", "log-table", "--interval", "20ms"]
}

#[test]
fn batches_sent_twice_through_a_restart_of_postgres_add_up_exactly() {
    let Some(server) = PostgresServer::start() else { return };
    let (home, url) = (Home::new(), server.url());
    let options = [&options(&url)[..], &["--send-twice"]].concat();
    // Two, as the log is folded by one at a time.
    let services = [home.start(&options), home.start(&options)];
    let clients = services.each_ref().map(|service| service.client());
    let load = Load::start(&services.each_ref().map(|service| service.url.as_str()));
    for restart in [true, false] {
        for client in &clients {
            let before = client.stat("flushed");
            eventually("it goes well", || (client.stat("flushed") > before + 500).then_some(()));
        }
        if restart {
            server.control("restart");
        }
    }
    let tally = load.stop();
    assert!(clients.iter().any(|client| client.stat("failures") > 0), "the restart was noticed");
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(tally.unanswered.is_empty());
    services.into_iter().for_each(|service| drop(service.stop()));
    assert_eq!(home.dead_letters(), Vec::<String>::new());
    let database = Database::Postgres(Box::new(server));
    assert_eq!(
        ["counter_log", "counter_fates", "counter_writers"].map(|table| database.count(table)),
        [0; 3]
    );
    assert_eq!(database.counters(), tally.accepted);
}

#[test]
fn a_read_is_exact_while_increments_move_through_the_log() {
    let Some(server) = PostgresServer::start() else { return };
    let (home, url) = (Home::new(), server.url());
    let options = [&options(&url)[..], &["--flush-at-count", "1"]].concat();
    let (service, other) = (home.start(&options), home.start(&options));
    let (client, onlooker, postgres) = (service.client(), other.client(), server.client());
    let mut folded = BTreeMap::new();
    for total in 1..=1_000 {
        client.increment("k", 1);
        assert_eq!(client.total("k"), Some(total));
        *folded
            .entry(postgres.number("select coalesce(sum(value), 0)::bigint from counters"))
            .or_insert(0) += 1;
    }
    assert!(folded.len() > 1, "the log was folded meanwhile: {folded:?}");
    eventually("everything is in the log", || {
        (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
    });
    assert_eq!(onlooker.total("k"), Some(1_000), "also where nothing is in memory");
    service.stop();
    other.stop();
}

#[test]
fn a_total_beyond_64_bits_waits_in_the_log_and_holds_up_no_other_key() {
    let Some(server) = PostgresServer::start() else { return };
    let (home, url) = (Home::new(), server.url());
    let options = [&options(&url)[..], &["--flush-at-count", "1"]].concat();
    let service = home.start(&options);
    let client = service.client();
    client.increment("big", i64::MAX);
    client.increment("big", 3);
    client.increment("small", 1);
    let database = Database::Postgres(Box::new(server));
    eventually("the other key is folded", || (database.counters().get("small") == Some(&1)).then_some(()));
    let total = i128::from(i64::MAX) + 3;
    let expected = format!(r#"{{"key":"big","persisted":{total},"pending":0,"total":{total}}}"#);
    eventually("it is read as it is", || (client.counter("big").body == expected).then_some(()));
    client.increment("big", -5);
    eventually("it fits again", || (database.counters().get("big") == Some(&(i64::MAX - 2))).then_some(()));
    assert_eq!(database.count("counter_log"), 0);
    service.stop();
    assert_eq!(home.dead_letters(), Vec::<String>::new());
}
