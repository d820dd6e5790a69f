//! Checks what would mislead if it were wrong, and renders a sample and what is committed.

use std::fs;
use std::io;
use std::path::Path;

use crate::numbers::{date, number};
use crate::recording::{Cell, Recording};
use crate::statistics::{median, quartiles, ratios};
use crate::targets::{Limit, Target, verdict};
use crate::{DATA, REPOSITORY, write};

#[test]
fn a_sample_becomes_a_page_with_charts() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    fs::create_dir(&data)?;
    sample(&data)?;
    write(&data, &out)?;
    check(&out)
}

#[test]
fn what_is_committed_becomes_a_page() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    write(&Path::new(REPOSITORY).join(DATA), folder.path())?;
    let made = fs::read_to_string(folder.path().join("BENCHMARKS.md"))?;
    assert_eq!(
        made,
        fs::read_to_string(Path::new(REPOSITORY).join("BENCHMARKS.md"))?,
        "`cargo run -p report`"
    );
    Ok(())
}

#[test]
fn numbers() {
    let texts = [0.0, 0.01234, 4.531, 9.996, 16.226, 210.7, 395_988.9].map(number);
    assert_eq!(texts, ["0", "0.0123", "4.53", "10.0", "16.2", "211", "395\u{a0}989"]);
    assert_eq!(number(f64::NAN), "–");
    assert_eq!(date(1_795_271_315), "2026-11-21");
    assert_eq!(quartiles(&[5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
    assert_eq!(quartiles(&[3.0, 1.0, 2.0]), [1.5, 2.0, 2.5]);
    assert_eq!(quartiles(&[2.0, 4.0])[1], 3.0);
    assert_eq!(quartiles(&[7.0]), [7.0; 3]);
}

/// The machine was twice as slow in the second turn, which the ratio of the medians would not forgive.
#[test]
fn ratios_are_taken_turn_by_turn() {
    let recording =
        recording(&[("x", "write-behind", &[11.0, 22.0, 11.0]), ("x", "base", &[10.0, 20.0, 20.0])]);
    assert_eq!(median(&ratios(&[11.0, 22.0, 11.0], &[10.0, 20.0, 20.0])), 1.1);
    assert_eq!(recording.ratio(&["x".to_owned()], "write-behind", "base"), Some(1.1));
    assert_eq!(recording.ratio(&["x".to_owned()], "write-behind", "nobody"), None);
}

#[test]
fn verdicts() {
    let recording = recording(&[
        ("p99", "write-behind", &[12.0]),
        ("p99", "base", &[10.0]),
        ("p99.9", "write-behind", &[9.0]),
        ("p99.9", "base", &[10.0]),
    ]);
    let says = |cases, limit, words: &str| {
        let text = verdict(&Target { says: "it holds", cases, limit }, &recording);
        assert!(text.starts_with(words), "{text:?} does not say {words:?}");
    };
    let within = |ratio| Limit::Within { peer: "write-behind", of: "base", ratio };
    says(&[], within(1.2), "**met**: it holds (the nearest to it: p99: 1.20 ×)");
    says(&[], within(1.1), "**missed** in 1 of 2: it holds (p99: 1.20 ×)");
    says(&["=p99.9"], within(1.1), "**met**");
    says(&["=p99"], within(1.1), "**missed** in 1 of 1");
    says(&["p99"], within(1.1), "**missed** in 1 of 2");
    says(&["other"], within(1.1), "not measured: it holds");
    says(&[], Limit::Within { peer: "nobody", of: "base", ratio: 9.0 }, "not measured");
    says(&[], Limit::AtLeast { peer: "write-behind", of: "base", ratio: 1.0 }, "**missed** in 1 of 2");
    says(&[], Limit::AtLeast { peer: "write-behind", of: "base", ratio: 0.9 }, "**met**");
    says(&[], Limit::Ahead { peer: "write-behind", of: &["base"] }, "**missed** in 1 of 2: it holds (p99: ");
    says(&["=p99.9"], Limit::Ahead { peer: "write-behind", of: &["base", "absent"] }, "**met**");
    let each = |peers, ratio| Limit::EachWithin { peers, of: "base", ratio };
    let both = &["write-behind", "absent"];
    says(&[], each(both, 1.2), "**met**: it holds (the nearest to it: p99: 1.20 × with write-behind)");
    says(&[], each(both, 1.1), "**missed** in 1 of 2: it holds (p99: 1.20 × with write-behind)");
    says(&[], each(&["absent"], 9.0), "not measured");
    says(&[], Limit::AtMost { peer: "write-behind", value: 12.0 }, "**met**");
    says(&[], Limit::AtMost { peer: "write-behind", value: 10.0 }, "**missed** in 1 of 2");
    says(&[], Limit::Near { peer: "write-behind", of: "base", times: 1.1, plus: 1.0 }, "**met**");
    says(&[], Limit::Near { peer: "write-behind", of: "base", times: 1.1, plus: 0.9 }, "**missed**");
}

/// From the size at which it is cheapest on.
#[test]
fn growth() {
    let recording = recording(&[
        ("100", "write-behind", &[50.0]),
        ("100", "base", &[1.0]),
        ("1000", "write-behind", &[10.0]),
        ("1000", "base", &[2.0]),
        ("10000", "write-behind", &[30.0]),
        ("10000", "base", &[4.0]),
    ]);
    let limit = |ratio| Limit::Grows { peer: "write-behind", like: "base", ratio };
    let of = |ratio| verdict(&Target { says: "it grows", cases: &[], limit: limit(ratio) }, &recording);
    assert!(of(1.5).starts_with("**met**"), "{}", of(1.5));
    assert!(of(1.4).starts_with("**missed** in 1 of 3"), "{}", of(1.4));
}

fn recording(cells: &[(&str, &str, &[f64])]) -> Recording {
    let cell = |(case, peer, samples): &(&str, &str, &[f64])| Cell {
        case: vec![(*case).to_owned()],
        peer: (*peer).to_owned(),
        samples: samples.to_vec(),
    };
    let (topic, unit, base) = ("sample".to_owned(), "ns".to_owned(), "base".to_owned());
    Recording { topic, unit, base, environment: None, cells: cells.iter().map(cell).collect() }
}

/// One of each kind: a known topic, lines, an unknown one with many peers and a zero, and HTTP.
fn sample(data: &Path) -> io::Result<()> {
    let environment = r#"{"unix_time": 0, "commit": "abc", "processor": "P", "cores": 2, "memory_mib": 1,
        "kernel": "K", "rustc": "R", "packages": {"scc": "3"}}"#;
    let topic = |name: &str, cells: String| {
        let text = format!(
            r#"{{"topic": "{name}", "unit": "ns", "base": "hand-written", "environment": {environment},
                "cells": [{}]}}"#,
            cells.trim_end_matches(','),
        );
        fs::write(data.join(format!("{name}.json")), text)
    };
    let cell = |case: &str, peer: &str, samples: &str| {
        format!(r#"{{"case": [{case}], "peer": "{peer}", "samples": [{samples}]}},"#)
    };
    let two = |case: &str| {
        cell(case, "hand-written", "10, 12, 14") + &cell(case, "write-behind", "1000, 1200, 1400")
    };
    topic("insert", two(r#""u64", "one hot key", "1""#) + &two(r#""u64", "one hot key", "8""#))?;
    topic("scaling", two(r#""insert", "100""#) + &two(r#""insert", "10000""#))?;
    topic("novel", (0..12).map(|peer| cell(r#""a", "b""#, &format!("way {peer}"), "0, 0, 3")).collect())?;
    let run = |mode: &str| {
        format!(
            r#"{{"round": 1, "mode": "{mode}", "requests_per_second": 100, "cpu_us_per_request": 1.5,
            "p50_ms": 1, "p99_ms": 2}}"#,
        )
        .replace('\n', "")
    };
    fs::write(data.join("http.jsonl"), ["noop", "buffered"].map(run).join("\n"))?;
    let profile = r#"{"unix_time": 0, "samples": 10, "shares": [{"part": "kernel", "percent": 40.0}]}"#;
    fs::write(data.join("profile.json"), profile)
}

fn check(out: &Path) -> io::Result<()> {
    let page = fs::read_to_string(out.join("BENCHMARKS.md"))?;
    for words in [
        "**missed** in 2 of 2: write-behind within 1.15",
        "not measured: write-behind ahead",
        "| u64, one hot key, 8 | 12.0 (11.0 – 13.0) | 1\u{a0}200 (1\u{a0}100 – 1\u{a0}300), 100 × |",
        "**met**: flat",
        "| a, way 3 | 0 (0 – 1.50) |",
        "**met**: buffered",
        "| kernel | 40.0 |",
        "Packages: scc 3",
        "When not to use this",
    ] {
        assert!(page.contains(words), "{words:?} is not on the page:\n{page}");
    }
    for chart in ["insert", "scaling", "novel", "http"] {
        let text = fs::read_to_string(out.join(format!("benches/charts/{chart}.svg")))?;
        assert!(page.contains(&format!("(benches/charts/{chart}.svg)")));
        assert!(text.starts_with("<svg") && !text.contains("NaN"), "{chart}");
    }
    Ok(())
}
