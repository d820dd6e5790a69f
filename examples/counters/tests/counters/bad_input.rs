//! What clients may send, what they may not, and what they are told.

use std::collections::BTreeMap;

use test_servers::eventually;

use crate::database::{Database, with_each_database};
use crate::service::Home;

/// Bodies, the status that they are answered with, and a part of the reason.
const BAD_BODIES: [(&str, u16, &str); 20] = [
    ("", 400, "malformed JSON"),
    ("{", 400, "malformed JSON"),
    (r#"{"key":"k","value":1"#, 400, "malformed JSON"),
    (r#"{"key":"k","value":01}"#, 400, "malformed JSON"),
    (r#"{"key":"k","value":1} x"#, 400, "malformed JSON"),
    ("[\"k\", 1]", 422, "must be a JSON object"),
    (r#"{"value":1}"#, 422, "`key` is missing"),
    (r#"{"key":null,"value":1}"#, 422, "`key` is missing"),
    (r#"{"key":"","value":1}"#, 422, "`key` is empty"),
    (r#"{"key":7,"value":1}"#, 422, "`key` must be a string"),
    (r#"{"key":"\u0000","value":1}"#, 422, "U+0000"),
    (r#"{"key":"\ud800","value":1}"#, 422, "no Unicode text"),
    (r#"{"key":"k","key":"l","value":1}"#, 422, "duplicate field"),
    (r#"{"key":"k"}"#, 422, "`value` is missing"),
    (r#"{"key":"k","value":"1"}"#, 422, "must be an integer"),
    (r#"{"key":"k","value":1.5}"#, 422, "must be an integer"),
    (r#"{"key":"k","value":1e3}"#, 422, "must be an integer"),
    (r#"{"key":"k","value":true}"#, 422, "must be an integer"),
    (r#"{"key":"k","value":9223372036854775808}"#, 422, "must be between"),
    (r#"{"key":"k","value":-9223372036854775809}"#, 422, "must be between"),
];

#[test]
fn bad_input_is_refused_with_the_reason_and_never_stored() {
    let home = Home::new();
    let service = home.start(&[]);
    let client = service.client();
    let long = format!(r#"{{"key":"{}","value":1}}"#, "é".repeat(257));
    let large = format!(r#"{{"key":"k","value":1}}{}"#, " ".repeat(16 * 1024));
    for (body, status, reason) in
        BAD_BODIES.into_iter().chain([(&*long, 422, "514 bytes"), (&large, 413, "larger than 16384 bytes")])
    {
        let answer = client.send("POST", "/increment", body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.error().contains(reason), "{body}: {answer:?}");
    }
    let invalid_utf8 = client.send("POST", "/increment", b"{\"key\":\"\xff\",\"value\":1}").unwrap();
    assert_eq!(invalid_utf8.status, 400, "{invalid_utf8:?}");
    for (method, path, status) in [
        ("GET", "/increment", 405),
        ("PUT", "/increment", 405),
        ("DELETE", "/counters/k", 405),
        ("POST", "/stats", 405),
        ("POST", "/healthz", 405),
        ("GET", "/counters/k", 404),
        ("GET", "/counters/%FF", 400),
        ("GET", "/nothing", 404),
    ] {
        let answer = client.send(method, path, b"").unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(!answer.error().is_empty());
    }
    assert_eq!(client.stat("accepted"), 0);
    service.stop();
    assert_eq!(Database::sqlite(&home).counters(), BTreeMap::new());
}

#[test]
fn a_full_buffer_refuses_new_keys_and_nothing_else() {
    let home = Home::new();
    let service = home.start(&["--max-keys", "2", "--interval", "1h", "--partitions", "1"]);
    let client = service.client();
    client.increment("a", 1);
    client.increment("b", 2);
    let refused = client.try_increment("c", 3).unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.error().contains("full"), "{refused:?}");
    assert_eq!(refused.retry_after, Some(3_600));
    client.increment("a", 10);
    assert_eq!((client.stat("rejected"), client.stat("accepted")), (1, 3));
    service.stop();
    assert_eq!(Database::sqlite(&home).counters(), BTreeMap::from([("a".into(), 11), ("b".into(), 2)]));
}

#[test]
fn any_unicode_key_works() {
    let longest = "k".repeat(512);
    let keys = [
        "a/b",
        "/",
        "..",
        ".",
        " ",
        "%",
        "%2F",
        "?x=1#y",
        "+",
        "é",
        "e\u{301}",
        "😀",
        "\u{FEFF}",
        "\n",
        "\\",
        "'; drop table counters; --",
        "\"",
        "\u{10FFFF}",
        "\u{1}",
        &longest,
    ];
    with_each_database(|home, database| {
        let service = home.start(&["--database", &database.url(), "--interval", "50ms"]);
        let client = service.client();
        for (key, value) in keys.iter().zip(1..) {
            client.increment(key, value);
            assert_eq!(client.total(key), Some(value), "{key:?}");
        }
        service.stop();
        let expected = keys.iter().zip(1..).map(|(&key, value)| (key.to_owned(), value));
        assert_eq!(database.counters(), expected.collect());
    });
}

#[test]
fn a_total_never_wraps() {
    with_each_database(|home, database| {
        let service = home.start(&["--database", &database.url(), "--interval", "1h"]);
        let client = service.client();
        for (key, value) in [("high", i64::MAX), ("low", i64::MIN), ("other", 1)] {
            client.increment(key, value);
        }
        service.stop();
        let mut service = home.start(&["--database", &database.url(), "--interval", "1s"]);
        let client = service.client();
        for (key, value) in [("high", i64::MAX), ("low", -500), ("other", 1), ("another", 1)] {
            client.increment(key, value);
        }
        let high = client.counter("high");
        assert!(high.body.contains("\"total\":18446744073709551614"), "{high:?}");
        client.increment("high", 1);
        eventually("the keys to blame are given up", || (client.stat("gave_up") == 3).then_some(()));
        eventually("the others get through", || {
            (client.stat("pending") + client.stat("in_flight") == 0).then_some(())
        });
        service.signal("TERM");
        let (code, errors) = service.wait();
        assert_eq!(code, Some(1), "not everything is stored: {errors}");
        assert!(errors.contains("3 totals could not be stored"), "{errors}");
        let expected = [("high", i64::MAX), ("low", i64::MIN), ("other", 2), ("another", 1)];
        assert_eq!(database.counters(), expected.map(|(key, value)| (key.to_owned(), value)).into());
        let letters = home.dead_letters().join("\n");
        for part in [
            r#""key":"high","data":1,"#,
            r#""key":"high","data":9223372036854775807,"#,
            r#""key":"low","data":-500,"#,
        ] {
            assert!(letters.contains(part), "{part} is not in {letters}");
        }
    });
}
