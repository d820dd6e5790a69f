//! What is refused is not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{SCHEMA, some_changes};
use crate::journal::JournalError;
use crate::journal::file::{open, tables};

fn journal(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    disk.commit(&head, &some_changes(1)).unwrap();
    path
}

/// Opens it and sees that the file is what it was, and has not been written to.
fn refused(path: &Path, schema: &str) -> JournalError {
    let before = fs::read(path).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    let error = open(path, schema, 8).map(|(_, head, _)| head).unwrap_err();
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), long_ago);
    assert!(fs::read(path).unwrap() == before);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[test]
fn other_keys_or_data() {
    let folder = TempDir::new().unwrap();
    let error = refused(&journal(&folder), "String → Sum<i64>");
    assert!(matches!(error, JournalError::Schema { file, here, .. }
        if file == SCHEMA && here == "String → Sum<i64>"));
}

#[test]
fn a_newer_format() {
    let folder = TempDir::new().unwrap();
    let path = journal(&folder);
    tables::write_format(&Database::open(&path).unwrap(), 2).unwrap();
    assert!(matches!(refused(&path, SCHEMA), JournalError::Newer { format: 2, .. }));
}

#[test]
fn another_database() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("pending");
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&path, SCHEMA), JournalError::Foreign { .. }));
}

#[test]
fn any_other_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    for content in ["redb", "# Notes", &"text\n".repeat(100_000)] {
        fs::write(&path, content).unwrap();
        assert!(matches!(refused(&path, SCHEMA), JournalError::Foreign { .. }));
    }
}

#[test]
fn an_empty_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&path, SCHEMA), JournalError::Damaged { .. }));
}

#[test]
fn one_that_was_not_closed_and_is_damaged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    disk.commit(&head, &some_changes(1)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    drop(disk);
    bytes[4096..].fill(0);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(refused(&path, SCHEMA), JournalError::Damaged { .. }));
}
