//! What a person sees.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use test_servers::eventually;

use crate::browser::Browser;
use crate::http::Client;
use crate::service::Home;

/// Of the service, when it says this of itself.
fn status_with(client: &Client, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || Some(client.get("/status").json()).filter(&holds))
}

#[test]
fn numbers_and_hostile_keys_are_shown_as_text() {
    const HOSTILE: &str = "<img src=x onerror=alert(1)>";
    let Some(browser) = Browser::find() else { return };
    let home = Home::new();
    let service = home.start(&["--interval", "50ms", "--max-keys", "1000"]);
    let client = service.client();
    for _ in 0..42 {
        client.increment(HOSTILE, 3);
    }
    client.increment("</script><script>document.title='taken'</script>", 1);
    let status = status_with(&client, "all is written", |status| status["flushed"] == 43);
    let seen = browser.look(&service.url);

    let texts = ["accepted", "flushed", "waiting", "oldest", "max-keys", "rejected", "retries-now"]
        .map(|id| seen.html(id));
    assert_eq!(texts, ["43", "43", "0", "none", "1,000", "0", "0"], "{seen:?}");
    assert_eq!(seen.html("rows"), status["rows"].to_string());
    assert!(["● writing", "■ at rest"].contains(&seen.html("state")), "{seen:?}");
    assert!(
        ["silent", "trouble", "lost", "unused", "journal"].iter().all(|id| seen.is_hidden(id)),
        "{seen:?}"
    );
    assert!(seen.html("chart-in").contains("polyline"), "{seen:?}");

    let top = seen.html("top");
    let first = "&lt;img src=x onerror=alert(1)&gt;</div>";
    let second = "&lt;/script&gt;&lt;script&gt;document.title='taken'&lt;/script&gt;</div>";
    assert!(top.find(first).unwrap() < top.find(second).unwrap(), "{top}");
    assert!(top.contains("<td>42</td><td>0</td>") && top.contains("<td>1</td><td>0</td>"), "{top}");
    assert!(!seen.dom.contains("<img") && seen.dom.contains("<title>counters</title>"), "{seen:?}");
    // Neither an error of the script's nor anything that the page's own policy forbids.
    assert!(!seen.log.contains("CONSOLE"), "{}", seen.log);
    service.stop();
}

#[test]
fn an_outage_is_told_with_its_reason_and_what_waits() {
    let Some(browser) = Browser::find() else { return };
    let home = Home::new();
    let service = home.start(&["--interval", "50ms", "--flush-timeout", "300ms"]);
    let client = service.client();
    let other = rusqlite::Connection::open(home.path("counters.sqlite")).unwrap();
    other.execute_batch("begin exclusive").unwrap();
    client.increment("a", 1);
    client.increment("b", 1);
    status_with(&client, "it notices", |status| !status["degraded_ms"].is_null());
    let seen = browser.look(&service.url);
    assert!(seen.html("state").starts_with("▲ database failing for "), "{seen:?}");
    assert!(!seen.is_hidden("trouble") && seen.html("trouble-text").starts_with("Last error, "), "{seen:?}");
    assert_eq!(
        (seen.html("accepted"), seen.html("waiting"), seen.html("flushed")),
        ("2", "2", "0"),
        "{seen:?}"
    );

    other.execute_batch("rollback").unwrap();
    status_with(&client, "it is well again", |status| {
        status["degraded_ms"].is_null() && status["flushed"] == 2
    });
    let seen = browser.look(&service.url);
    assert!(seen.html("trouble-text").starts_with("The database is fine. Last error, "), "{seen:?}");
    service.stop();
}

#[test]
fn a_journal_is_shown_and_what_it_means_that_it_cannot_be_written() {
    let Some(browser) = Browser::find() else { return };
    let home = Home::new();
    let options = ["--journal", "the.journal", "--ack", "durable", "--interval", "1h"];
    let service = home.start(&options);
    (0..3).for_each(|_| service.client().increment("a", 1));
    service.kill();
    let service = home.start(&options);
    let seen = browser.look(&service.url);
    assert!(!seen.is_hidden("journal") && seen.is_hidden("trouble"), "{seen:?}");
    let texts = ["journal-state", "journal-failures", "journal-found"].map(|id| seen.html(id));
    assert_eq!(texts, ["written", "0 failures", "3 increments"], "{seen:?}");

    service.limit_files(Some(4_096));
    assert_eq!(service.client().try_increment("a", 1).unwrap().status, 503);
    let seen = browser.look(&service.url);
    assert!(seen.html("state").starts_with("▲ journal failing for "), "{seen:?}");
    assert_eq!(seen.html("journal-state"), "failing");
    assert!(seen.html("trouble-title").contains("refused until the journal can be written"), "{seen:?}");
    assert!(seen.html("trouble-text").contains("the.journal"), "{seen:?}");
}

/// Serves the page, the status once, and then nothing any more.
fn serve_until_silent(page: String, status: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut statuses = Some(status);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            let Ok(length) = stream.read(&mut request) else { continue };
            let (kind, body) = if request[..length].starts_with(b"GET / ") {
                ("text/html; charset=utf-8", page.clone())
            } else if request[..length].starts_with(b"GET /status ") {
                let Some(status) = statuses.take() else { continue };
                ("application/json", status)
            } else {
                continue;
            };
            let head = format!("Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close", body.len());
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        }
    });
    url
}

#[test]
fn a_server_that_answers_no_more_is_named_and_its_last_numbers_stay() {
    let Some(browser) = Browser::find() else { return };
    let home = Home::new();
    let service = home.start(&["--interval", "1h"]);
    let client = service.client();
    for _ in 0..7 {
        client.increment("a", 1);
    }
    let url = serve_until_silent(client.get("/").body, client.get("/status").body);
    service.stop();
    let seen = browser.look(&url);
    assert!(
        !seen.is_hidden("silent") && seen.html("silent-text").starts_with("What is shown is from "),
        "{seen:?}"
    );
    assert_eq!(
        (seen.html("state"), seen.html("accepted"), seen.html("pending")),
        ("✕ no answer", "7", "7"),
        "{seen:?}"
    );
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let home = Home::new();
    let service = home.start(&[]);
    let page = service.client().get("/").body;
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for sign in ["http:", "https:", "//cdn", "@import", "url(", "innerHTML", "{nonce}"] {
        assert!(!elsewhere.contains(sign), "{sign}");
    }
    service.stop();
}
