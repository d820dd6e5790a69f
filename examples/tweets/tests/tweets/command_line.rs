//! Options: what is refused is refused with the reason.

use test_servers::free_port;

use crate::process::Process;

#[test]
fn bad_options_are_refused_with_the_reason() {
    for (options, reason) in [
        (["--tweets", "0"], "1..=100000000"),
        (["--tweets", "many"], "invalid digit"),
        (["--panic-every", "-1"], "unexpected argument"),
        (["--database", "mysql://localhost/x"], "write sqlite:PATH or postgres://"),
        (["--database", "sqlite:"], "the path is missing"),
        (["--database", "postgres://localhost:port/x"], "not a valid Postgres address"),
        (["--work", "1"], "write 300ms, 5s or 2m"),
        (["--work", "25h"], "at most 1day"),
        (["--write-every", "0s"], "must be more than zero"),
        (["--in-flight", "0"], "1.."),
        (["--batch", "0"], "1.."),
        (["--max-workers", "1001"], "1..=1000"),
        (["--min-workers", "17"], "--min-workers 17 is more than --max-workers 16"),
        (["--speculate", "3"], "--min-workers 2 is too few"),
        (["--drain-within", "soon"], "write 300ms, 5s or 2m"),
    ] {
        let end = Process::start(&options).end();
        assert_eq!(end.code, Some(2), "{options:?}: {end:#?}");
        assert!(end.errors.contains(reason), "{options:?}: {end:#?}");
        assert!(end.lines.is_empty(), "{options:?}: {end:#?}");
    }
}

#[test]
fn the_help_names_every_option_and_what_the_exit_status_means() {
    let end = Process::start(&["--help"]).end();
    let text = end.lines.join("\n");
    for word in [
        "--tweets",
        "--panic-every",
        "--rate",
        "--drop-every",
        "--seed",
        "--database",
        "--fresh",
        "--work",
        "--min-workers",
        "--max-workers",
        "--speculate",
        "--in-flight",
        "--batch",
        "--write-every",
        "--drain-within",
        "Exit status",
    ] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

#[test]
fn a_database_that_is_not_there_stops_the_start() {
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/x", free_port());
    for database in [nowhere.as_str(), "sqlite:missing/directory/x.sqlite"] {
        let end = Process::start(&["--database", database]).end();
        assert_eq!(end.code, Some(2), "{end:#?}");
        assert!(end.errors.contains("the database cannot be used"), "{end:#?}");
    }
}
