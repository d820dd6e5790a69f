//! How many instructions the hottest paths take: clocks here are noisy, instructions are not.
//!
//! ```sh
//! cargo run --release -p instructions              # compares with what is recorded, and fails if one is off
//! cargo run --release -p instructions -- --record  # records what is counted now
//! ```
//!
//! Each path runs in this program under valgrind's callgrind, once with so many operations and once with twice as many; the
//! difference is what the operations cost, the loop around them included, and neither start nor end. All threads are
//! counted. Hashes have a random seed, and what the compiler makes of it all differs a little from release to release: a
//! path may be off by [`TOLERANCE`].

mod paths;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use serde::{Deserialize, Serialize};

use paths::PATHS;

/// By how much a path may differ from what is recorded.
const TOLERANCE: f64 = 0.05;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.json");

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    rustc: String,
    /// For each path, instructions per operation.
    paths: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments[..] {
        [] => compare(),
        ["--record"] => record(),
        ["--run", path, operations] => run(path, operations),
        _ => Err("say nothing, or --record".to_owned()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("instructions: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &str, operations: &str) -> Result<(), String> {
    let (_, run, _) = PATHS.into_iter().find(|(name, ..)| *name == path).ok_or("there is no such path")?;
    run(operations.parse().map_err(|error| format!("{operations}: {error}"))?);
    Ok(())
}

fn compare() -> Result<(), String> {
    let text = fs::read_to_string(RECORD).map_err(|error| format!("{RECORD}: {error}"))?;
    let recorded: Record = serde_json::from_str(&text).map_err(|error| format!("{RECORD}: {error}"))?;
    println!("recorded with {}, counted with {}", recorded.rustc, rustc()?);
    let mut off = Vec::new();
    for (name, now) in count_all()? {
        let before = *recorded.paths.get(&name).ok_or_else(|| format!("{name} is not recorded"))?;
        println!("{name:32} {before:8.1} recorded {now:8.1} now {:+6.1} %", 100.0 * (now / before - 1.0));
        if (now / before - 1.0).abs() > TOLERANCE {
            off.push(name);
        }
    }
    if off.is_empty() {
        return Ok(());
    }
    Err(format!(
        "off by more than {:.0} %: {}. If it is meant, record it, and say why in the commit.",
        100.0 * TOLERANCE,
        off.join(", ")
    ))
}

fn record() -> Result<(), String> {
    let record = Record { rustc: rustc()?, paths: count_all()? };
    let text = serde_json::to_string_pretty(&record).map_err(|error| error.to_string())?;
    fs::write(RECORD, text + "\n").map_err(|error| format!("{RECORD}: {error}"))?;
    println!("{:#?}", record.paths);
    Ok(())
}

fn rustc() -> Result<String, String> {
    let output =
        Command::new("rustc").arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn count_all() -> Result<BTreeMap<String, f64>, String> {
    let mut counted = BTreeMap::new();
    for (name, _, operations) in PATHS {
        let [once, twice] = [operations, 2 * operations].map(|operations| count(name, operations));
        let difference = twice?.saturating_sub(once?);
        counted.insert(name.to_owned(), (10.0 * difference as f64 / operations as f64).round() / 10.0);
    }
    Ok(counted)
}

/// How many instructions this program takes for so many operations.
fn count(path: &str, operations: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(Path::new(&program))
        .args(["--run", path, &operations.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or_else(|| format!("{path}: {said}"))
}
