//! The raw data: a line for each piece that came to its end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::about;
use crate::row::Row;

/// A piece of a part, well or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece {
    pub(crate) part: String,
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) first_seed: u64,
    /// How many seeds, from the first on.
    pub(crate) seeds: u64,
    /// What the test was told.
    pub(crate) asked: u64,
    /// What it did.
    pub(crate) counted: u64,
    pub(crate) seconds: f64,
    /// What went wrong; nothing if it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// A deliberate fault and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    pub(crate) mutant: String,
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) killed: bool,
    /// What the test said.
    pub(crate) said: String,
    pub(crate) seconds: f64,
}

/// Where the raw data is.
pub(crate) struct Data(PathBuf);

impl Data {
    pub(crate) fn at(folder: &Path) -> Self {
        Data(folder.to_owned())
    }

    fn pieces_path(&self, row: &Row) -> PathBuf {
        self.0.join(format!("{:02}.jsonl", row.number))
    }

    fn trials_path(&self, row: &Row) -> PathBuf {
        self.0.join(format!("{:02}-mutants.jsonl", row.number))
    }

    pub(crate) fn pieces(&self, row: &Row) -> io::Result<Vec<Piece>> {
        read_lines(&self.pieces_path(row))
    }

    /// The last of each mutant.
    pub(crate) fn trials(&self, row: &Row) -> io::Result<Vec<Trial>> {
        read_lines(&self.trials_path(row))
    }

    pub(crate) fn add_piece(&self, row: &Row, piece: &Piece) -> io::Result<()> {
        append(&self.pieces_path(row), piece)
    }

    pub(crate) fn add_trial(&self, row: &Row, trial: &Trial) -> io::Result<()> {
        append(&self.trials_path(row), trial)
    }
}

pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(|error| about(path, error))?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().map_err(|error| about(path, error))
}

fn append(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(value)? + "\n";
    let mut file =
        File::options().create(true).append(true).open(path).map_err(|error| about(path, error))?;
    file.write_all(line.as_bytes()).map_err(|error| about(path, error))
}

/// How far a part is.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reached {
    pub(crate) counted: u64,
    /// The first seed that nobody has used.
    pub(crate) next_seed: u64,
    pub(crate) failures: usize,
    /// The last piece failed.
    pub(crate) is_broken: bool,
}

impl Reached {
    pub(crate) fn of(part: &str, pieces: &[Piece]) -> Self {
        let mut reached = Reached { next_seed: 1, ..Reached::default() };
        for piece in pieces.iter().filter(|piece| piece.part == part) {
            reached.next_seed = reached.next_seed.max(piece.first_seed + piece.seeds);
            reached.is_broken = piece.failure.is_some();
            reached.failures += usize::from(reached.is_broken);
            reached.counted += if reached.is_broken { 0 } else { piece.counted };
        }
        reached
    }
}
