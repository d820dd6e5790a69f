//! What `scripts/compare-http` records: rounds, and perhaps a profile.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::recording::{Cell, Recording};

#[derive(Debug, Deserialize)]
struct Run {
    round: u64,
    mode: String,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Of the buffered service under load.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    pub(crate) unix_time: u64,
    pub(crate) samples: u64,
    pub(crate) shares: Vec<Share>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Share {
    pub(crate) part: String,
    pub(crate) percent: f64,
}

type Case = (&'static str, fn(&Run) -> f64);

const CASES: [Case; 4] = [
    ("requests per second", |run| run.requests_per_second),
    ("median latency in ms", |run| run.p50_ms),
    ("p99 latency in ms", |run| run.p99_ms),
    ("µs of the service's processor time per request", |run| run.cpu_us_per_request),
];

/// As a recording: a round is a turn, a mode a peer.
pub(crate) fn read_rounds(path: &Path) -> io::Result<Recording> {
    let text = fs::read_to_string(path)?;
    let runs: Result<Vec<Run>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(recording(runs?))
}

fn recording(mut runs: Vec<Run>) -> Recording {
    runs.sort_by_key(|run| run.round);
    let mut cells = Vec::new();
    for (case, value) in CASES {
        for mode in ["noop", "buffered", "sync"] {
            let samples: Vec<f64> = runs.iter().filter(|run| run.mode == mode).map(value).collect();
            if !samples.is_empty() {
                cells.push(Cell { case: vec![case.to_owned()], peer: mode.to_owned(), samples });
            }
        }
    }
    let (topic, unit, base) = ("http".to_owned(), "as each row says".to_owned(), "noop".to_owned());
    Recording { topic, unit, base, environment: None, cells }
}

pub(crate) fn read_profile(path: &Path) -> io::Result<Profile> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}
