//! Options: what is refused is refused with the reason, before anything is touched.

use std::net::TcpListener;

use test_servers::free_port;

use crate::service::{Home, run};

#[test]
fn bad_options_are_refused_with_the_reason() {
    let home = Home::new();
    for (option, value, reason) in [
        ("--listen", "nowhere", "invalid socket address"),
        ("--database", "mysql://localhost/x", "write sqlite:PATH or postgres://"),
        ("--database", "sqlite:", "the path is missing"),
        ("--database", "postgres://localhost:port/x", "not a valid Postgres address"),
        ("--interval", "0s", "must be more than zero"),
        ("--interval", "5", "such as 300ms or 5s"),
        ("--interval", "s", "the number is missing"),
        ("--interval", "99999999999999999999s", "too long"),
        ("--interval", "300h", "12 days"),
        ("--jitter", "-1s", "unexpected argument"),
        ("--jitter", "1.5s", "such as 300ms or 5s"),
        ("--partitions", "0", "1..=65536"),
        ("--max-keys", "0", "1.."),
        ("--max-keys", "many", "invalid digit"),
        ("--flush-at-count", "0", "1.."),
        ("--max-updates", "0", "1.."),
        ("--max-updates", "1k", "invalid digit"),
        ("--polling-time", "0s", "must be more than zero"),
        ("--flush-timeout", "0s", "must be more than zero"),
        ("--mode", "slow", "buffered, sync, noop"),
        ("--sink", "drain", "upsert, log-table"),
        ("--redis", "http://localhost", "not a valid Redis address"),
        ("--redis", "redis://localhost", "--redis goes with --sink redis only"),
        ("--nats", "http://localhost", "not a valid NATS address"),
        ("--nats", "nats://localhost", "--nats goes with --sink nats only"),
        ("--sink", "nats", "--sink nats needs --database postgres://"),
        ("--sink", "log-table", "--sink log-table needs --database postgres://"),
        ("--shutdown-within", "soon", "such as 300ms or 5s"),
        ("--dead-letter", "/nowhere/letters", "/nowhere/letters"),
        ("--log", "counters=loud", "invalid"),
        ("--data", "/dev/null/data", "the folder /dev/null/data cannot be used"),
        ("--volume", "11", "unexpected argument"),
        ("--ack", "maybe", "accepted, durable"),
        ("--ack", "durable", "--ack durable needs --journal FILE"),
        ("--journal", "/nowhere/j", "/nowhere/j"),
    ] {
        let (code, text) = run(&home, &[option, value]);
        assert_eq!(code, Some(2), "{option} {value}: {text}");
        assert!(text.contains(reason), "{option} {value}: {text}");
    }
    let (code, text) = run(&home, &["--sink", "redis", "--database", "sqlite:x"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("there is no --database then"), "{text}");
}

#[test]
fn options_that_contradict_each_other_are_refused_with_the_reason() {
    let home = Home::new();
    for (options, reason) in [
        (vec!["--interval", "1s", "--polling-time", "2s"], "'--interval <DURATION>' cannot be used multiple"),
        (vec!["--hydrate", "--mode", "sync"], "--hydrate goes with --mode buffered only"),
        (vec!["--hydrate", "--mode", "noop"], "--hydrate goes with --mode buffered only"),
        (vec!["--hydrate", "--sink", "redis"], "--hydrate goes with --sink upsert only"),
        (vec!["--journal", "j", "--mode", "sync"], "--journal goes with --mode buffered only"),
    ] {
        let (code, text) = run(&home, &options);
        assert_eq!(code, Some(2), "{options:?}: {text}");
        assert!(text.contains(reason), "{options:?}: {text}");
    }
    assert_eq!(home.directory().read_dir().unwrap().count(), 0, "nothing is touched");
}

#[test]
fn help_names_every_option_and_exit_status() {
    let (code, text) = run(&Home::new(), &["--help"]);
    assert_eq!(code, Some(0));
    for word in [
        "--listen",
        "--database",
        "--interval",
        "--polling-time",
        "--jitter",
        "--partitions",
        "--max-keys",
        "--flush-at-count",
        "--max-updates",
        "--hydrate",
        "--flush-timeout",
        "--mode",
        "buffered",
        "sync",
        "noop",
        "--sink",
        "upsert",
        "log-table",
        "redis",
        "--redis",
        "nats",
        "--nats",
        "--dead-letter",
        "--data",
        "--log",
        "--shutdown-within",
        "--journal",
        "--ack",
        "accepted",
        "durable",
        "Exit status",
    ] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

#[test]
fn an_address_in_use_and_a_database_that_is_not_there_stop_the_start() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = run(&home, &["--listen", &address]);
    assert_eq!(code, Some(2));
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
    assert_eq!(home.directory().read_dir().unwrap().count(), 0, "nothing is touched");

    let database = format!("postgres://postgres@127.0.0.1:{}/x", free_port());
    let (code, text) = run(&home, &["--listen", "127.0.0.1:0", "--database", &database]);
    assert_eq!(code, Some(2));
    assert!(text.contains("the database cannot be used") && text.contains("refused"), "{text}");

    let (code, text) = run(&home, &["--listen", "127.0.0.1:0", "--database", "sqlite:missing/x.sqlite"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("the database cannot be used"), "{text}");
}
