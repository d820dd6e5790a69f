//! The message roll-up as a process.

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_message_rollup"));
    command.args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn simulated(arguments: &[&str]) -> String {
    let output = run(&[&["--simulate", "2h"], arguments].concat());
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The number in front of `what`.
fn number(text: &str, what: &str) -> u64 {
    let before = text.split(what).next().expect("there is a part before it");
    before.split_whitespace().next_back().and_then(|word| word.parse().ok()).expect("a number comes first")
}

/// The example compares each point with a plain tally at the end of each minute and says so.
#[test]
fn two_simulated_hours_are_exact_to_the_minute() {
    let text = simulated(&["--seed", "7", "--accounts", "12"]);
    let (received, counted) = (number(&text, " messages = "), number(&text, " counted + "));
    assert_eq!(received, counted + number(&text, " too late"));
    assert!(received > 10_000 && number(&text, " too late") > 0, "{text}");
    assert!(number(&text, " writes to the store") * 5 < counted, "few writes carry many messages: {text}");
    assert!(number(&text, " points of 120 minutes checked") > 12 * 15 * 100, "{text}");
}

#[test]
fn a_minute_without_messages_is_a_zero_point() {
    let text = simulated(&["--every", "1m"]);
    let series: Vec<Vec<u64>> = text
        .lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| line.split_whitespace().skip(4).map(|point| point.parse().expect("a count")).collect())
        .collect();
    assert!(series.iter().all(|points| points.len() == 15));
    let gap =
        |points: &Vec<u64>| points.windows(3).any(|three| three[0] > 0 && three[1] == 0 && three[2] > 0);
    assert!(series.iter().any(gap), "no account was silent for a minute in two hours");
}

/// Fast accounts are flushed sooner than quiet ones, between the bounds.
#[test]
fn intervals_follow_the_data() {
    let text = simulated(&["--every", "5m", "--shortest", "2s", "--longest", "20s"]);
    let intervals: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().nth(3)?.strip_suffix('s')?.parse().ok())
        .collect();
    assert!(intervals.iter().all(|interval| (2.0..=20.0).contains(interval)), "{intervals:?}");
    assert!(intervals.contains(&20.0) && intervals.iter().any(|interval| *interval < 15.0), "{intervals:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let tables = |seed| {
        let text = simulated(&["--seed", seed]);
        text.lines().filter(|line| !line.contains("checked")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(tables("3"), tables("3"));
    assert_ne!(tables("3"), tables("4"));
}

/// In real time, on threads: ends by itself and balances.
#[test]
fn it_runs_in_real_time_too() {
    let output = run(&["--for", "1500ms", "--every", "1s", "--accounts", "50", "--shortest", "50ms"]);
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(number(&text, " messages = "), number(&text, " counted + ") + number(&text, " too late"));
}

#[test]
fn bad_options_are_named() {
    for (arguments, named) in [
        (&["--simulate", "soon"][..], "--simulate"),
        (&["--simulate", "5s"], "at least 60s"),
        (&["--simulate", "1h", "--for", "1h"], "--for"),
        (&["--accounts", "0"], "--accounts"),
        (&["--shortest", "1m", "--longest", "1s"], "--shortest"),
        (&["--shortest", "0s"], "at least 1ms"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
}
