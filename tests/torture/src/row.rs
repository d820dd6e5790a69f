//! A row of the battery, as its file in `rows/` says.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::error::about;

/// What is promised, and by which tests it is tried.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) title: String,
    /// What must not happen, in a sentence.
    pub(crate) promise: String,
    /// What is not tried, or not here, and why.
    pub(crate) missing: Option<String>,
    /// What was found, and how it was mended.
    pub(crate) found: Option<String>,
    #[serde(default, rename = "part")]
    pub(crate) parts: Vec<Part>,
    #[serde(default, rename = "mutant")]
    pub(crate) mutants: Vec<Mutant>,
}

/// A test, and how often it is to be passed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: String,
    pub(crate) target: u64,
    pub(crate) package: String,
    /// All, if it does not say.
    pub(crate) features: Option<String>,
    /// The test target; the unit tests of the library, if it does not say.
    pub(crate) test: Option<String>,
    /// The test, or the module of which all are run.
    pub(crate) filter: String,
    /// Where it is.
    pub(crate) source: String,
    /// The variable that says how much is tried; it is the same each time, if there is none.
    pub(crate) count: Option<String>,
    /// How much at a time.
    pub(crate) piece: u64,
    #[serde(default)]
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) seeds: Seeds,
    /// Other variables.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    /// Flags of the compiler, for which there is a folder of its own.
    pub(crate) rustflags: Option<String>,
    /// Rust's, if not the one that is used here.
    pub(crate) toolchain: Option<String>,
    /// What else cargo is told.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    #[serde(default)]
    pub(crate) by: By,
}

/// How it is known how much was tried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counts {
    /// As much as was asked for.
    #[default]
    Asked,
    /// The test says `counted: NUMBER`, once or several times.
    Said,
    /// As many as there are tests, and passed.
    Passed,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seeds {
    /// A piece has a seed, from which all follows.
    #[default]
    One,
    /// Each of those that are asked for has its own, the first of them first.
    Each,
    /// There is nothing random, or what is cannot be repeated.
    None,
}

/// Who runs a test.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The processor.
    #[default]
    Itself,
    /// Miri, which interprets it.
    Miri,
}

/// A deliberate fault, and who has to find it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    pub(crate) what: String,
    pub(crate) file: String,
    /// What is there once.
    pub(crate) find: String,
    pub(crate) replace: String,
    /// The part of this row that finds it.
    pub(crate) part: String,
    /// In so many tries.
    pub(crate) count: u64,
}

impl Part {
    /// What the test is called within its module.
    pub(crate) fn last_name(&self) -> &str {
        self.filter.rsplit("::").next().unwrap_or(&self.filter)
    }
}

impl Row {
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// All rows in a folder, by number.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in fs::read_dir(folder).map_err(|error| about(folder, error))? {
        let path = file?.path();
        let text = fs::read_to_string(&path).map_err(|error| about(&path, error))?;
        let row: Row = toml::from_str(&text).map_err(|error| about(&path, error))?;
        let strange = row.mutants.iter().find(|mutant| row.part(&mutant.part).is_none());
        if let Some(mutant) = strange {
            return Err(about(&path, format!("the mutant \"{}\" names no part", mutant.what)));
        }
        rows.push(row);
    }
    rows.sort_by_key(|row| row.number);
    Ok(rows)
}
