//! Encrypted connections.

use std::process::Command;

use test_servers::PostgresServer;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::{Buffer, SummingBuffer};
use write_behind_postgres::{Error, PostgresStore};

use crate::database::{LONG, views};

const ADDRESS: &str = "TLS_TEST_ADDRESS";

#[test]
fn an_address_that_wants_tls_gets_it_and_only_from_a_server_that_is_trusted() {
    let Some(server) = PostgresServer::start_with_tls() else { return };
    let address = format!("{}?sslmode=require", server.url());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stranger = runtime.block_on(PostgresStore::connect(address.parse().unwrap(), views())).unwrap_err();
    assert!(!matches!(stranger, Error::Definition(_)), "{stranger}");
    // What is trusted is a matter of the environment, which is another process's.
    let this = std::env::current_exe().unwrap();
    let mut trusting = Command::new(this);
    trusting.args(["--exact", "tls::in_a_process_that_trusts_the_server", "--ignored"]);
    trusting.env("SSL_CERT_FILE", server.certificate()).env(ADDRESS, address);
    let output = trusting.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let totals = server.client().query("select page, views from page_views");
    assert_eq!((totals[0].get(0), totals[0].get(1)), ("page", 1_i64));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other one"]
async fn in_a_process_that_trusts_the_server() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let store = PostgresStore::connect(address.parse().unwrap(), views()).await.unwrap();
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let encrypted: bool = store.pool().get().await.unwrap().query_one(query, &[]).await.unwrap().get(0);
    assert!(encrypted);
    let buffer: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store)).unwrap();
    buffer.add("page", 1).unwrap();
    buffer.shutdown_async(LONG).await.unwrap();
}
