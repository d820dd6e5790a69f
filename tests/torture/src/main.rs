//! The battery. `scripts/torture` says how to call it.
//!
//! A row is a file in `rows/`: what is promised, the tests that try it, how often they are to be passed, and deliberate
//! faults that they have to find. What was tried is a line in `data/`, and `RELIABILITY.md` is drawn from rows and data.

mod battery;
mod error;
mod mutants;
mod page;
mod record;
mod row;
mod run;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use crate::battery::Battery;
use crate::error::about;
use crate::record::Data;
use crate::row::Row;

/// Wherever this is started.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PAGE: &str = "RELIABILITY.md";

#[derive(Debug, Default, PartialEq)]
struct Arguments {
    mode: Mode,
    /// All, if there are none.
    rows: Vec<u32>,
    minutes: Option<u64>,
}

#[derive(Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Run,
    List,
    Page,
    Mutants,
    Again(PathBuf, usize),
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = given.next() {
        let mut next = |what: &str| given.next().ok_or_else(|| format!("{word} takes {what}"));
        match word.as_str() {
            "--list" => arguments.mode = Mode::List,
            "--page" => arguments.mode = Mode::Page,
            "--mutants" => arguments.mode = Mode::Mutants,
            "--minutes" => arguments.minutes = Some(number(&next("a number")?)?),
            "--again" => {
                let file = next("a file and a line")?.into();
                arguments.mode = Mode::Again(file, number(&next("a file and a line")?)? as usize);
            }
            row => arguments.rows.push(number(row)? as u32),
        }
    }
    Ok(arguments)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("\"{word}\" is neither an option nor a number"))
}

fn main() -> ExitCode {
    let done =
        arguments(std::env::args().skip(1)).map_err(io::Error::other).and_then(|given| carry_out(&given));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was well.
fn carry_out(arguments: &Arguments) -> io::Result<bool> {
    let (rows, data) = rows_and_data()?;
    let unknown = arguments.rows.iter().find(|number| rows.iter().all(|row| row.number != **number));
    if let Some(number) = unknown {
        return Err(io::Error::other(format!("there is no row {number}")));
    }
    let chosen = |row: &&Row| arguments.rows.is_empty() || arguments.rows.contains(&row.number);
    let chosen: Vec<&Row> = rows.iter().filter(chosen).collect();
    let battery = Battery::new(Path::new(REPOSITORY), &data, commit());
    let is_well = match &arguments.mode {
        Mode::List => return battery.list(&chosen).map(|()| true),
        Mode::Again(file, line) => return battery.again(&rows, file, *line),
        Mode::Page => true,
        Mode::Mutants => {
            let _alone = battery.lock()?;
            mutants::run(&battery, &chosen)?
        }
        Mode::Run => {
            let _alone = battery.lock()?;
            let minutes = arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes));
            battery.run(&chosen, minutes.map(|time| Instant::now() + time))?
        }
    };
    let path = Path::new(REPOSITORY).join(PAGE);
    fs::write(&path, page::page(&rows, &data)?).map_err(|error| about(&path, error))?;
    Ok(is_well)
}

fn rows_and_data() -> io::Result<(Vec<Row>, Data)> {
    let folder = Path::new(REPOSITORY).join("tests/torture");
    Ok((row::read(&folder.join("rows"))?, Data::at(&folder.join("data"))))
}

/// What is tried. A `+` says that it was changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(REPOSITORY).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=7", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed = git(&["status", "--porcelain", "--", ".", ":!tests/torture/data", ":!RELIABILITY.md"])
        .is_some_and(|changes| !changes.is_empty());
    if is_changed { commit + "+" } else { commit }
}

fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}
