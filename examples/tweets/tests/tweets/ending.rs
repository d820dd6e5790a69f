//! Ends that come early, and accounts that do not balance.

use std::path::Path;

use test_servers::eventually;

use crate::process::Process;
use crate::tables::Tables;

fn stored(path: &Path) -> Option<i64> {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("select count(*) from tweets", (), |row| row.get(0)).ok()
}

#[test]
fn an_interrupt_stores_what_was_taken_in_and_accounts_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tweets.sqlite");
    let url = format!("sqlite:{}", path.display());
    // So few places that a reader is waiting for one when it comes.
    let options = ["--tweets", "1000000", "--panic-every", "50", "--in-flight", "50", "--database", &url];
    let process = Process::start(&options);
    eventually("some are stored", || stored(&path).filter(|stored| *stored > 500));
    process.interrupt();
    let end = process.end();
    end.assert_balanced();
    let taken: i64 = end.account("taken in").split(' ').next().unwrap().parse().unwrap();
    assert!((500..1_000_000).contains(&taken), "{end:#?}");
    Tables::in_sqlite(&path).assert_right(taken - end.malformed().len() as i64);
}

#[test]
fn an_account_that_does_not_balance_says_why_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tweets.sqlite");
    let url = format!("sqlite:{}", path.display());
    let process = Process::start(&["--tweets", "1000000", "--panic-every", "50", "--database", &url]);
    eventually("some are stored", || stored(&path).filter(|stored| *stored > 500));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.busy_timeout(test_servers::LIMIT).unwrap();
    connection.execute("delete from tweets where id = (select min(id) from tweets)", ()).unwrap();
    process.interrupt();
    let end = process.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    assert!(end.lines.iter().any(|line| line.starts_with("DIFFERENCE   tweets stored: ")), "{end:#?}");
    assert_eq!(end.lines.last().map(String::as_str), Some("NOT BALANCED"));
}
