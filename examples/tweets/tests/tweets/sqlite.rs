//! To the end, with SQLite.

use crate::process::Process;
use crate::tables::Tables;

#[test]
fn two_thousand_tweets_are_stored_once_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tweets.sqlite");
    let url = format!("sqlite:{}", path.display());
    // Connections break every few events.
    let options = ["--tweets", "2000", "--panic-every", "100", "--drop-every", "50", "--database", &url];
    let end = Process::start(&options).end();
    end.assert_balanced();
    assert_eq!(end.malformed(), (1..=20).map(|nth| nth * 100).collect::<Vec<_>>());
    Tables::in_sqlite(&path).assert_right(1_980);
    let repeated = end.account("taken in").split(' ').nth(4).unwrap().parse::<u32>();
    assert!(repeated.is_ok_and(|repeated| repeated > 10), "{end:#?}");
}

#[test]
fn one_worker_and_one_place_are_enough() {
    let options = ["--min-workers", "1", "--max-workers", "1", "--speculate", "1", "--in-flight", "1"];
    // Each connection brings one event.
    let more = ["--tweets", "60", "--panic-every", "7", "--work", "0ms", "--drop-every", "1"];
    let end = Process::start(&[&options[..], &more].concat()).end();
    end.assert_balanced();
    assert_eq!(end.malformed(), [7, 14, 21, 28, 35, 42, 49, 56]);
}

#[test]
fn what_waits_for_a_worker_that_dies_waits_for_its_successor() {
    let options = ["--min-workers", "1", "--max-workers", "1", "--speculate", "1"];
    let more = ["--tweets", "2000", "--panic-every", "10", "--work", "0ms"];
    let end = Process::start(&[&options[..], &more].concat()).end();
    end.assert_balanced();
    assert_eq!(end.malformed().len(), 200);
}

#[test]
fn many_workers_with_as_many_copies_store_each_tweet_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tweets.sqlite");
    let url = format!("sqlite:{}", path.display());
    let options = ["--min-workers", "8", "--max-workers", "8", "--speculate", "8", "--work", "1ms"];
    let more = ["--tweets", "2000", "--panic-every", "10", "--database", &url];
    let end = Process::start(&[&options[..], &more].concat()).end();
    end.assert_balanced();
    assert_eq!(end.malformed().len(), 200);
    Tables::in_sqlite(&path).assert_right(1_800);
}

#[test]
fn a_used_database_is_refused_unless_it_may_be_emptied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tweets.sqlite");
    let url = format!("sqlite:{}", path.display());
    let options = ["--tweets", "50", "--panic-every", "0", "--database", &url];
    Process::start(&options).end().assert_balanced();
    let end = Process::start(&options).end();
    assert_eq!(end.code, Some(2));
    assert!(end.errors.contains("drop them with --fresh"), "{end:#?}");
    let end = Process::start(&[&options[..], &["--fresh"]].concat()).end();
    end.assert_balanced();
    Tables::in_sqlite(&path).assert_right(50);
}
