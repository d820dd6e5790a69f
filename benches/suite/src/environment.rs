//! On what it was measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Whose versions matter.
const PACKAGES: [&str; 12] = [
    "batch-aint-one",
    "dashmap",
    "foldhash",
    "hashbrown",
    "moka",
    "parking_lot",
    "postcard",
    "redb",
    "rusqlite",
    "scc",
    "tokio",
    "tokio-postgres",
];

#[derive(Serialize)]
pub(crate) struct Environment {
    unix_time: u64,
    commit: String,
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    rustc: String,
    packages: BTreeMap<&'static str, String>,
}

impl Environment {
    pub(crate) fn here() -> Self {
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let kib = line_value(&memory, "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        Environment {
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            commit: output("git", &["rev-parse", "--short", "HEAD"]),
            processor: line_value(&cpu, "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.unwrap_or(0) / 1_024,
            kernel: output("uname", &["-sr"]),
            rustc: output("rustc", &["--version"]),
            packages: PACKAGES.map(|package| (package, locked_version(package))).into(),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line_value(text: &str, name: &str) -> String {
    let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// What this was built with. Several versions of one package are all named.
fn locked_version(package: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let versions = lock.split("[[package]]").filter(|entry| entry.lines().any(|line| line == name));
    let version = |entry: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    versions.filter_map(version).collect::<Vec<_>>().join(" and ")
}
