//! Postgres over TLS.

use test_servers::PostgresServer;

use crate::process::Process;
use crate::tables::Tables;

#[test]
fn where_tls_is_required_the_certificate_decides() {
    let Some(server) = PostgresServer::start_with_tls() else { return };
    let url = format!("{}?sslmode=require", server.url());
    let options = ["--tweets", "500", "--panic-every", "100", "--database", &url];
    let end = Process::start(&options).end();
    assert_eq!(end.code, Some(2), "{end:#?}");
    assert!(end.errors.contains("certificate"), "{end:#?}");

    Process::start_trusting(&server.certificate(), &options).end().assert_balanced();
    Tables::in_postgres(&server.url()).assert_right(495);
}
