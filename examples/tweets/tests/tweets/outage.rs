//! The database goes away and comes back.

use test_servers::{PostgresServer, Proxy, Spoil, eventually};

use crate::process::Process;
use crate::tables::{Tables, query_postgres};

const STORED: &str = "select count(*) from tweets";

/// What a line of progress says in front of ` on the way`.
fn on_the_way(line: &str) -> Option<u64> {
    line.split_once(" on the way")?.0.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_hundred_thousand_tweets_survive_two_hundred_deaths_and_an_outage() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.url();
    let options = ["--tweets", "100000", "--panic-every", "500", "--work", "0ms", "--in-flight", "3000"];
    let process = Process::start(&[&options[..], &["--database", &url]].concat());
    eventually("a part is stored", || query_postgres(&url, STORED).filter(|stored| *stored > 20_000));
    server.control("stop");
    // A real outage: until the pipeline is full, or nearly.
    let (mut asked, mut most) = (Vec::new(), 0);
    eventually("it notices, and is full", || {
        asked.push(process.line());
        let line = asked.last()?;
        most = on_the_way(line).map_or(most, |number| number.max(most));
        (line.contains("database away") && most >= 2_000).then_some(())
    });
    server.control("start");
    let mut end = process.end();
    end.lines.splice(..0, asked);

    end.assert_balanced();
    assert_eq!(end.account("taken in").split(';').next(), Some("100000 tweets of 100000"));
    assert!(end.account("stored").starts_with("99800 tweets of "), "{end:#?}");
    assert!(end.account("malformed").starts_with("200"), "{end:#?}");
    assert_eq!(end.malformed(), (1..=200).map(|nth| nth * 500).collect::<Vec<_>>());
    Tables::in_postgres(&url).assert_right(99_800);
    assert!(!server.log().contains("deadlock"), "{}", server.log());

    // The pipeline held no more than it may.
    let on_the_way: Vec<_> = end.lines.iter().filter_map(|line| on_the_way(line)).collect();
    assert!(on_the_way.iter().max().is_some_and(|most| (2_000..=3_000).contains(most)), "{end:#?}");
}

#[test]
fn writes_whose_answer_is_lost_count_once() {
    let Some(server) = PostgresServer::start() else { return };
    let proxy = Proxy::start(server.port());
    let through_proxy = server.url_at(proxy.port());
    let options = ["--tweets", "20000", "--work", "0ms", "--database", &through_proxy];
    let process = Process::start(&options);
    eventually("some are stored", || query_postgres(&server.url(), STORED).filter(|stored| *stored > 100));
    // Every other write or so; about as many of sums as of tweets.
    for _ in 0..25 {
        proxy.spoil_next(Spoil::LoseAnswer);
        eventually("an answer is lost", || proxy.has_spoiled().then_some(()));
    }
    let end = process.end();
    end.assert_balanced();
    Tables::in_postgres(&server.url()).assert_right(20_000 - 40);
    assert!(!server.log().contains("deadlock"), "{}", server.log());
}

#[test]
fn who_gives_up_while_the_database_is_away_is_told_what_is_missing() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.url();
    let options = ["--tweets", "1000000", "--in-flight", "100", "--drain-within", "200ms"];
    let process = Process::start(&[&options[..], &["--database", &url]].concat());
    eventually("some are stored", || query_postgres(&url, STORED).filter(|stored| *stored > 500));
    server.control("stop");
    eventually("it notices", || process.line().contains("database away").then_some(()));
    process.interrupt();
    let end = process.end();
    assert_eq!(end.code, Some(1), "{end:#?}");
    assert!(end.lines.iter().any(|line| line.contains("could not be stored in time")), "{end:#?}");
    assert!(end.account("NO ACCOUNT").contains("refused"), "{end:#?}");
}
