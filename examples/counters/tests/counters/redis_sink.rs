//! `--sink redis`: totals and ledger in Redis.

use std::collections::BTreeMap;

use redis::{Commands, Connection};
use test_servers::{Server, eventually};

use crate::kills::{Course, assert_exact};
use crate::load::Load;
use crate::service::Home;

const TOTALS: &str = "{counters}:totals";

/// One that has on the disk what it has acknowledged.
fn redis() -> Option<Server> {
    Server::start("redis-server", |port| {
        let port = port.to_string();
        let options =
            ["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
        options.map(str::to_owned).into()
    })
}

fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

fn connect(server: &Server) -> Connection {
    redis::Client::open(url(server)).unwrap().get_connection().unwrap()
}

fn totals(redis: &mut Connection) -> BTreeMap<String, i64> {
    redis.hgetall(TOTALS).unwrap()
}

fn once(key: &str, value: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), value)])
}

#[test]
fn batches_sent_twice_through_a_restart_of_redis_add_up_exactly() {
    let Some(mut server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let service = home.start(&["--sink", "redis", "--redis", &url, "--interval", "20ms", "--send-twice"]);
    let client = service.client();
    let load = Load::start(&[&service.url]);
    for restart in [true, false] {
        let before = client.stat("flushed");
        eventually("it goes well", || (client.stat("flushed") > before + 500).then_some(()));
        if restart {
            server.restart();
        }
    }
    let tally = load.stop();
    assert!(client.stat("failures") > 0, "the restart was noticed");
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(tally.unanswered.is_empty());
    for (key, total) in &tally.accepted {
        assert_eq!(client.total(key), Some(*total));
    }
    let errors = service.stop();
    assert!(!errors.contains("may lose"), "{errors}");
    assert_eq!(home.dead_letters(), Vec::<String>::new());
    let mut redis = connect(&server);
    assert_eq!(totals(&mut redis), tally.accepted);
    assert_eq!(redis.keys::<_, Vec<String>>("*").unwrap(), [TOTALS], "a clean end leaves nothing else");
}

#[test]
fn a_read_is_exact_at_every_moment_of_a_flush_to_redis() {
    let Some(server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let service = home.start(&["--sink", "redis", "--redis", &url, "--interval", "1ms"]);
    let client = service.client();
    for total in 1..=1_000 {
        client.increment("k", 1);
        assert_eq!(client.total("k"), Some(total));
    }
    service.stop();
    assert_eq!(totals(&mut connect(&server)), once("k", 1_000));
}

#[test]
fn sync_mode_stores_in_redis_before_it_answers_and_never_wraps() {
    let Some(server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let service = home.start(&["--sink", "redis", "--redis", &url, "--mode", "sync"]);
    let client = service.client();
    client.increment("k", i64::MAX);
    assert_eq!(totals(&mut connect(&server)), once("k", i64::MAX));
    let refused = client.try_increment("k", 1).unwrap();
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(totals(&mut connect(&server)), once("k", i64::MAX));
    service.stop();
}

#[test]
fn what_redis_records_stays_bounded() {
    let Some(server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let options = ["--sink", "redis", "--redis", &url, "--interval", "1h", "--flush-at-count", "1"];
    let service = home.start(&options);
    let (client, mut redis) = (service.client(), connect(&server));
    for total in 1..=200 {
        client.increment("k", 1);
        eventually("it is stored", || (client.stat("flushed") == total).then_some(()));
    }
    let writers: Vec<String> = redis.keys("{counters}:writer:*").unwrap();
    let [writer] = writers.as_slice() else { panic!("{writers:?}") };
    let records: i64 = redis.hlen(writer).unwrap();
    assert!((1..=70).contains(&records), "{records} records");
    assert!(redis.ttl::<_, i64>(writer).unwrap() > 0, "should nobody ever tidy up");
    service.stop();
}

/// Redis keeps what a script wrote before it failed, so the batch must be taken back by the script.
#[test]
fn a_batch_with_a_total_that_would_overflow_leaves_no_trace_and_is_split() {
    let Some(server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let mut redis = connect(&server);
    let _: () = redis.hset(TOTALS, "m poison", i64::MAX).unwrap();
    let _: () = redis.hset(TOTALS, "a there", i64::MAX - 1).unwrap();
    let mut service = home.start(&["--sink", "redis", "--redis", &url, "--interval", "300ms"]);
    let client = service.client();
    for key in ["a there", "b new", "m poison", "z last"] {
        client.increment(key, 1);
    }
    eventually("all is settled", || (client.stat("pending") + client.stat("in_flight") == 0).then_some(()));
    let settled = [("a there", i64::MAX), ("b new", 1), ("m poison", i64::MAX), ("z last", 1)];
    let settled = BTreeMap::from(settled.map(|(key, total)| (key.to_owned(), total)));
    assert_eq!(totals(&mut redis), settled);
    service.signal("TERM");
    assert_eq!(service.wait().0, Some(1));
    let letters = home.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains(r#""key":"m poison","data":1"#), "{letters:?}");

    // As soon as it fits the letter is applied, and once, although the first replay does not get to its end.
    let _: () = redis.hset(TOTALS, "m poison", 0).unwrap();
    let options = ["--sink", "redis", "--redis", &url];
    home.fail_to_replace_the_dead_letters(&options);
    assert_eq!(totals(&mut redis)["m poison"], 1);
    let errors = home.start(&options).stop();
    assert!(errors.contains("1 dead letters applied"), "{errors}");
    assert_eq!(totals(&mut redis)["m poison"], 1);
}

#[test]
fn what_redis_did_not_take_before_the_end_is_replayed_once() {
    let Some(mut server) = redis() else { return };
    let (home, url) = (Home::new(), url(&server));
    let options = ["--sink", "redis", "--redis", &url, "--interval", "10ms", "--shutdown-within", "300ms"];
    let mut service = home.start(&options);
    let client = service.client();
    client.increment("k", 1);
    eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
    server.kill();
    client.increment("k", 10);
    eventually("it notices", || (client.get("/healthz").status == 503).then_some(()));
    service.signal("TERM");
    assert_eq!(service.wait().0, Some(1));
    assert_eq!(home.dead_letters().len(), 1);
    server.restart();
    home.start(&options).stop();
    assert_eq!(totals(&mut connect(&server)), once("k", 11));
    assert_eq!(home.dead_letters(), Vec::<String>::new());
}

#[test]
fn a_redis_that_may_forget_is_pointed_out() {
    let Some(server) = Server::start("redis-server", |port| {
        ["--port", &port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned).into()
    }) else {
        return;
    };
    let errors = Home::new().start(&["--sink", "redis", "--redis", &url(&server)]).stop();
    assert!(errors.contains("Redis may lose counters: appendonly is no, and not yes"), "{errors}");
}

#[test]
fn with_a_journal_what_was_acknowledged_counts_once_however_often_the_service_is_killed() {
    let Some(server) = redis() else { return };
    let url = url(&server);
    let options = &["--sink", "redis", "--redis", &url, "--ack", "durable"];
    let totals = &|| totals(&mut connect(&server));
    assert_exact(&Course { name: "redis", home: &Home::new(), options, arrived: &|| {}, totals }.run());
}
