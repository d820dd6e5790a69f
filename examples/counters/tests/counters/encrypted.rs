//! Postgres over TLS.

use test_servers::{PostgresServer, eventually};

use crate::service::Home;
use crate::service::run;

/// Connections of services, by whether they are encrypted.
fn connections(server: &PostgresServer, encrypted: bool) -> i64 {
    let ssl = if encrypted { "ssl" } else { "not ssl" };
    server.client().number(&format!(
        "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
         where application_name = 'counters' and {ssl}"
    ))
}

#[test]
fn where_tls_is_required_everything_goes_over_it() {
    let Some(server) = PostgresServer::start_with_tls() else { return };
    let url = format!("{}?sslmode=require", server.url());
    let home = Home::new();
    let options = ["--database", &url, "--interval", "10ms", "--flush-timeout", "300ms"];
    let service = home.start_trusting(&server.certificate(), &options);
    let client = service.client();
    client.increment("k", 1);
    eventually("it is stored", || (client.stat("flushed") == 1).then_some(()));
    // A flush is cancelled at the server over TLS as well, or its statement would wait for the lock.
    let blocker = server.client();
    blocker.execute("begin", &[]);
    blocker.execute("lock table counters in access exclusive mode", &[]);
    client.increment("k", 2);
    eventually("it is tried again", || (client.stat("retries") > 2).then_some(()));
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    assert!(server.client().number(waiting) <= 2, "those that were given up have been stopped");
    blocker.execute("commit", &[]);
    eventually("it is stored", || (client.stat("flushed") == 2).then_some(()));
    assert!(connections(&server, true) > 0);
    assert_eq!(connections(&server, false), 0);
    assert_eq!(client.total("k"), Some(3));
    service.stop();
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_trusted() {
    let Some(server) = PostgresServer::start_with_tls() else { return };
    let url = format!("{}?sslmode=require", server.url());
    let (code, text) = run(&Home::new(), &["--database", &url]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let (Some(server), Some(other)) = (PostgresServer::start(), PostgresServer::start_with_tls()) else {
        return;
    };
    let home = Home::new();
    let plain = home.start_trusting(&other.certificate(), &["--database", &other.url()]);
    assert_eq!(connections(&other, true), 0, "nobody has asked for it");
    plain.stop();
    let (code, text) = run(&home, &["--database", &format!("{}?sslmode=require", server.url())]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("TLS"), "{text}");
}
