//! What was measured, as `benches/suite` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::statistics::{median, ratios};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Environment {
    pub(crate) unix_time: u64,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) packages: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Cell {
    /// From general to special.
    pub(crate) case: Vec<String>,
    pub(crate) peer: String,
    /// One per turn.
    pub(crate) samples: Vec<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Recording {
    pub(crate) topic: String,
    pub(crate) unit: String,
    /// Whom ratios are relative to.
    pub(crate) base: String,
    /// What scripts record has none.
    pub(crate) environment: Option<Environment>,
    pub(crate) cells: Vec<Cell>,
}

impl Recording {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let recording: Recording = serde_json::from_str(&fs::read_to_string(path)?)?;
        if recording.cells.iter().any(|cell| cell.samples.is_empty()) {
            return Err(io::Error::other("there is a cell without samples"));
        }
        Ok(recording)
    }

    /// In the order in which they come.
    pub(crate) fn peers(&self) -> Vec<&str> {
        each_once(self.cells.iter().map(|cell| cell.peer.as_str()))
    }

    pub(crate) fn cases(&self) -> Vec<&[String]> {
        each_once(self.cells.iter().map(|cell| cell.case.as_slice()))
    }

    pub(crate) fn samples(&self, case: &[String], peer: &str) -> Option<&[f64]> {
        let cell = self.cells.iter().find(|cell| cell.case == case && cell.peer == peer)?;
        Some(&cell.samples)
    }

    pub(crate) fn median(&self, case: &[String], peer: &str) -> Option<f64> {
        self.samples(case, peer).map(median)
    }

    /// The median of the turns' ratios; nothing where there is no finite one.
    pub(crate) fn ratio(&self, case: &[String], peer: &str, to: &str) -> Option<f64> {
        let ratio = median(&ratios(self.samples(case, peer)?, self.samples(case, to)?));
        ratio.is_finite().then_some(ratio)
    }
}

fn each_once<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut different = Vec::new();
    for one in all {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    different
}
