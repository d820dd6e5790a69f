//! Lost and late messages between the service and Postgres.

use std::collections::BTreeMap;

use test_servers::{PostgresServer, Proxy, Spoil, eventually};

use crate::database::{Database, with_each_database};
use crate::http::Client;
use crate::service::{Home, Service};

struct Setting {
    home: Home,
    database: Database,
    proxy: Proxy,
    url: String,
}

impl Setting {
    fn new() -> Option<Self> {
        let server = Box::new(PostgresServer::start()?);
        let proxy = Proxy::start(server.port());
        let url = server.url_at(proxy.port());
        Some(Setting { home: Home::new(), database: Database::Postgres(server), proxy, url })
    }

    /// A service that flushes every increment at once, with a connection that has been used.
    fn start(&self) -> (Service, Client) {
        let service = self.home.start(&[
            "--database",
            &self.url,
            "--interval",
            "1h",
            "--flush-at-count",
            "1",
            "--shutdown-within",
            "2s",
        ]);
        let client = service.client();
        client.increment("first", 1);
        settled(&client);
        (service, client)
    }

    fn counters(&self) -> BTreeMap<String, i64> {
        let mut counters = self.database.counters();
        counters.remove("first");
        counters
    }
}

fn settled(client: &Client) {
    eventually("everything is stored", || {
        (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
    });
}

fn once(key: &str, value: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), value)])
}

#[test]
fn a_batch_whose_answer_is_lost_counts_once() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start();
    for total in 1..=5 {
        setting.proxy.spoil_next(Spoil::LoseAnswer);
        client.increment("k", 1);
        settled(&client);
        assert!(setting.proxy.has_spoiled());
        assert_eq!(setting.counters(), once("k", total));
    }
    service.stop();
    assert_eq!(setting.counters(), once("k", 5));
}

#[test]
fn a_copy_of_a_batch_that_was_delayed_is_never_applied() {
    let Some(setting) = Setting::new() else { return };
    let (service, client) = setting.start();
    setting.proxy.spoil_next(Spoil::Delay);
    client.increment("k", 1);
    let soon = setting.proxy.delayed();
    setting.proxy.spoil_next(Spoil::Delay);
    client.increment("k", 10);
    let after_pruning = setting.proxy.delayed();
    setting.proxy.spoil_next(Spoil::Delay);
    client.increment("k", 100);
    let after_the_end = setting.proxy.delayed();
    settled(&client);
    assert_eq!(setting.counters(), once("k", 111));

    soon.arrive();
    assert_eq!(setting.counters(), once("k", 111));
    for _ in 0..200 {
        client.increment("first", 1);
        settled(&client);
    }
    assert!(setting.database.count("counter_fates") < 200, "the delayed batch's record is gone");
    after_pruning.arrive();
    assert_eq!(setting.counters(), once("k", 111));
    service.stop();
    after_the_end.arrive();
    assert_eq!(setting.counters(), once("k", 111));
}

#[test]
fn a_copy_of_a_batch_that_was_split_meanwhile_is_never_applied() {
    let Some(setting) = Setting::new() else { return };
    let Database::Postgres(server) = &setting.database else { return };
    let postgres = server.client();
    let set = |value: i64| {
        let upsert = "insert into counters values ('poison', $1) on conflict (key) do update set value = $1";
        postgres.execute(upsert, &[&value]);
    };
    let mut service = setting.home.start(&["--database", &setting.url, "--interval", "1s"]);
    let client = service.client();
    client.increment("first", 1);
    settled(&client);

    set(i64::MAX);
    setting.proxy.spoil_next(Spoil::Delay);
    client.increment("k", 1);
    client.increment("poison", 1);
    let late = setting.proxy.delayed();
    settled(&client);
    assert_eq!((client.stat("gave_up"), setting.counters()["k"]), (1, 1));
    // Now it would go through.
    set(0);
    late.arrive();
    assert_eq!((setting.counters()["poison"], setting.counters()["k"]), (0, 1));
    service.signal("TERM");
    assert_eq!(service.wait().0, Some(1), "the poisoned key is in the dead letters");
}

#[test]
fn a_dead_letter_whose_batch_was_applied_after_all_counts_once() {
    let Some(setting) = Setting::new() else { return };
    let (mut service, client) = setting.start();
    setting.proxy.close();
    setting.proxy.spoil_next(Spoil::LoseAnswer);
    client.increment("applied", 1);
    eventually("the answer is lost", || (client.stat("failures") > 0).then_some(()));
    assert_eq!(setting.counters(), once("applied", 1));
    client.increment("not applied", 2);
    service.signal("TERM");
    let (code, errors) = service.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert_eq!(setting.home.dead_letters().len(), 2);

    let service = setting.home.start(&["--database", &setting.database.url()]);
    let errors = service.stop();
    assert!(errors.contains("1 dead letters applied, 1 had been already"), "{errors}");
    let mut expected = once("applied", 1);
    expected.insert("not applied".to_owned(), 2);
    assert_eq!(setting.counters(), expected);
    assert_eq!(setting.home.dead_letters(), Vec::<String>::new());
}

#[test]
fn a_dead_letter_whose_batch_arrives_after_its_replay_counts_once() {
    let Some(setting) = Setting::new() else { return };
    let (mut service, client) = setting.start();
    setting.proxy.close();
    setting.proxy.spoil_next(Spoil::Delay);
    client.increment("k", 1);
    let late = setting.proxy.delayed();
    service.signal("TERM");
    assert_eq!(service.wait().0, Some(1));
    setting.home.start(&["--database", &setting.database.url()]).stop();
    assert_eq!(setting.counters(), once("k", 1));
    late.arrive();
    assert_eq!(setting.counters(), once("k", 1));
}

#[test]
fn what_is_recorded_stays_bounded_and_a_clean_end_leaves_nothing() {
    with_each_database(|home, database| {
        let service =
            home.start(&["--database", &database.url(), "--interval", "1h", "--flush-at-count", "1"]);
        let client = service.client();
        let mut most = 0;
        for _ in 0..200 {
            client.increment("k", 1);
            settled(&client);
            most = most.max(database.count("counter_fates"));
        }
        assert!((1..=70).contains(&most), "{most} records");
        assert_eq!(database.count("counter_writers"), 1);
        service.stop();
        assert_eq!((database.count("counter_fates"), database.count("counter_writers")), (0, 0));
        assert_eq!(database.counters(), once("k", 200));
    });
}
