//! What a sceptic wants to know before choosing this crate, measured beside everything that one would
//! pick instead: in the same process, in the same run, taking turns. A plain program and not criterion,
//! because criterion measures one after the other, and what is wanted here are ratios, histograms,
//! memory and rest.
//!
//!     cargo run --release -p suite                    # everything
//!     cargo run --release -p suite -- insert memory   # what is named
//!     cargo run --release -p suite -- --list          # what there is
//!     cargo run --release -p suite -- --tiny          # once and tiny, and records nothing
//!
//! `TURNS` (15) says how often the contestants take turns. Raw data goes to `DATA`
//! (target/bench), one JSON file per topic; `cargo run -p report` makes tables and charts of it;
//! `scripts/bench` does both.

mod appointment;
mod buffers;
mod child;
mod database;
mod deadlines;
mod environment;
mod flush;
mod idle;
mod insert;
mod journal;
mod keys;
mod latency;
mod many;
mod memory;
mod peers;
mod quantiles;
mod record;
mod scale;
mod scaling;
#[path = "../../support/turns.rs"]
mod turns;

use std::io;
use std::process::ExitCode;

use crate::scale::Scale;

type Topic = (&'static str, fn(Scale) -> io::Result<()>);

const TOPICS: [Topic; 17] = [
    ("insert", insert::sums),
    ("lists", insert::lists),
    ("fresh", insert::fresh),
    ("many", many::run),
    ("memory", memory::run),
    ("scaling", scaling::run),
    ("database", database::run),
    ("latency", latency::run),
    ("flush", flush::run),
    ("deadlines", deadlines::run),
    ("idle", idle::run),
    ("buffers", buffers::run),
    ("journal-insert", journal::insert),
    ("journal-durable", journal::durable),
    ("journal-bytes", journal::bytes),
    ("journal-recovery", journal::recovery),
    ("journal-flush", journal::flush),
];

fn main() -> ExitCode {
    if let Some(done) = child::work(in_child) {
        return done;
    }
    if std::env::args().any(|argument| argument == "--list") {
        TOPICS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let scale = match Scale::of_this_run() {
        Ok(scale) => scale,
        Err(problem) => return failed(&problem),
    };
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| TOPICS.iter().all(|topic| topic.0 != **name)) {
        let names = TOPICS.map(|topic| topic.0).join(", ");
        return failed(&format!("there is no topic {unknown:?}; there are {names}"));
    }
    for (name, run) in TOPICS {
        if (wanted.is_empty() || wanted.iter().any(|wish| wish == name))
            && let Err(error) = run(scale)
        {
            return failed(&format!("{name}: {error}"));
        }
    }
    ExitCode::SUCCESS
}

/// What is measured in a process of its own.
fn in_child(words: &[&str]) -> io::Result<()> {
    match *words {
        ["buffers", count, interval_ms] => buffers::child(count, interval_ms),
        ["idle", who, keys, watch_ms] => idle::child(who, keys, watch_ms),
        ["memory", peer, key, count] => memory::child(peer, key, count),
        _ => Err(io::Error::other("nobody knows how to do that")),
    }
}

fn failed(problem: &str) -> ExitCode {
    eprintln!("suite: {problem}");
    ExitCode::FAILURE
}
