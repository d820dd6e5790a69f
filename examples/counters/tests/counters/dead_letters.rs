//! The dead-letter file: written when it must be, replayed once.

use test_servers::PostgresServer;

use crate::database::{Database, with_each_database};
use crate::service::Home;

/// A letter of a batch that was never sent.
fn letter(id: usize, key: &str, value: i64) -> String {
    let id = format!("00000000000000a1-{id}");
    format!(r#"{{"id":"{id}","key":"{key}","data":{value},"count":1,"reason":"test","at":0}}"#)
}

fn expected<const N: usize>(counters: [(&str, i64); N]) -> std::collections::BTreeMap<String, i64> {
    counters.map(|(key, value)| (key.to_owned(), value)).into()
}

#[test]
fn what_an_outage_left_over_at_the_end_is_replayed_at_the_next_start() {
    let Some(server) = PostgresServer::start() else { return };
    let home = Home::new();
    let options = ["--database", &server.url(), "--interval", "10ms", "--shutdown-within", "300ms"];
    let mut service = home.start(&options);
    server.control("stop");
    let client = service.client();
    (0..50).for_each(|key| client.increment(&format!("key {key}"), key));
    service.signal("TERM");
    let (code, errors) = service.wait();
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains("50 totals could not be stored; they are in counters-data/dead-letters.jsonl"),
        "{errors}"
    );

    server.control("start");
    // Applied, and killed before the file is replaced.
    home.fail_to_replace_the_dead_letters(&options);
    let counters = (0..50).map(|key| (format!("key {key}"), key)).collect();
    let database = Database::Postgres(Box::new(server));
    assert_eq!(database.counters(), counters);
    let errors = home.start(&options).stop();
    assert!(errors.contains("50 dead letters applied"), "{errors}");
    assert_eq!(database.counters(), counters);
    assert_eq!(home.dead_letters(), Vec::<String>::new());
}

#[test]
fn lines_that_cannot_be_replayed_stay_and_hold_up_no_others() {
    with_each_database(|home, database| {
        let unknown_batch = letter(6, "lost", 7).replace('}', r#","in_doubt":"0000000000000012-34"}"#);
        let lines = [
            letter(1, "a", 1),
            letter(2, "too much", i64::MAX),
            letter(3, "too much", i64::MAX),
            "not a letter".to_owned(),
            letter(4, "b", 2),
            letter(8, "without an id", 1).replace("00000000000000a1-8", ""),
            unknown_batch,
            letter(5, "a", 3),
            r#"{"id":"00000000000000a1-7","key":"torn","da"#.to_owned(),
        ];
        home.write("dead-letters.jsonl", lines.join("\n"));
        let options = ["--database", &database.url(), "--interval", "1h", "--flush-at-count", "1"];
        let mut service = home.start(&options);
        let left = home.dead_letters();
        assert_eq!(left.len(), 5, "{left:#?}");
        // A new letter does not end up on the torn line.
        service.client().increment("too much", 5);
        service.signal("TERM");
        let (code, errors) = service.wait();
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("4 dead letters applied"), "{errors}");
        assert!(errors.contains("5 dead letters stay"), "{errors}");
        assert_eq!(home.dead_letters().len(), 6);
        assert!(home.dead_letters()[5].contains(r#""key":"too much","data":5"#));
        let counters = expected([("a", 4), ("b", 2), ("too much", i64::MAX)]);
        assert_eq!(database.counters(), counters);

        home.start(&options).stop();
        assert_eq!((database.counters(), home.dead_letters().len()), (counters, 6));
    });
}

#[test]
fn being_killed_in_the_middle_of_a_replay_counts_nothing_twice() {
    with_each_database(|home, database| {
        let lines: Vec<_> = (1..6).map(|id| letter(id, "k", 1)).collect();
        let options = ["--database", &database.url()];
        home.write("dead-letters.jsonl", lines[..3].join("\n"));
        home.fail_to_replace_the_dead_letters(&options);
        // The database has some of them, and the file was not replaced yet.
        assert_eq!(database.counters(), expected([("k", 3)]));
        home.write("dead-letters.jsonl", lines.join("\n"));
        home.start(&options).kill();
        assert_eq!(database.counters(), expected([("k", 5)]));
        assert_eq!(home.dead_letters(), Vec::<String>::new());
    });
}

#[test]
fn processes_that_share_the_file_replay_each_line_once() {
    with_each_database(|home, database| {
        let lines: Vec<_> = (1..=500).map(|id| letter(id, &format!("key {}", id % 7), 1)).collect();
        home.write("dead-letters.jsonl", lines.join("\n"));
        let url = database.url();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| home.start(&["--database", &url]).stop());
            }
        });
        assert_eq!(database.counters().values().sum::<i64>(), 500);
        assert_eq!(home.dead_letters(), Vec::<String>::new());
    });
}
