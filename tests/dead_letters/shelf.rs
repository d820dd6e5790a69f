//! A file for one test, and what is in it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use write_behind::Sum;
use write_behind::dead_letters::{Burying, DeadLetters};
use write_behind::exactly_once::ExactlyOnce;

use crate::ledger_store::LedgerStore;

pub(crate) type Letters = DeadLetters<String, Sum<i64>>;
pub(crate) type Sink = Arc<Burying<ExactlyOnce<LedgerStore>, String, Sum<i64>>>;

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Shelf(TempDir);

impl Shelf {
    pub(crate) fn new() -> Self {
        Shelf(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("letters.jsonl")
    }

    /// As a process opens it.
    pub(crate) fn open(&self) -> Arc<Letters> {
        Arc::new(DeadLetters::open(self.path()).unwrap())
    }

    pub(crate) fn sink(&self, store: &LedgerStore) -> Sink {
        Arc::new(Burying::new(ExactlyOnce::new(store.clone()), self.open()))
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// The lines that are JSON.
    pub(crate) fn letters(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The folder is gone.
    pub(crate) fn burn(&self) {
        fs::remove_dir_all(self.0.path()).unwrap();
    }
}
