//! What is kept, and who may have it.

use std::fs;

use tempfile::TempDir;

use super::{Content, SCHEMA, head_after, some_changes};
use crate::driver::journal::disk::{Changes, Head};
use crate::journal::JournalError;
use crate::journal::file::open;

#[test]
fn a_new_journal_is_empty_and_of_the_first_epoch() {
    let folder = TempDir::new().unwrap();
    let (disk, head, is_new) = open(&folder.path().join("journal"), SCHEMA, 7).unwrap();
    assert_eq!((head, is_new), (Head { instance: 7, epoch: 1, next_sequence: 1 }, true));
    assert_eq!(Content::of(&*disk).unwrap(), Content::default());
}

#[test]
fn what_was_committed_is_there_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let mut expected = Content::default();
    for epoch in 1..5 {
        let (mut disk, head, is_new) = open(&path, SCHEMA, epoch).unwrap();
        let next_sequence = expected.batches.last_key_value().map_or(1, |(last, _)| last + 1);
        assert_eq!((head, is_new), (Head { instance: 1, epoch, next_sequence }, epoch == 1));
        assert_eq!(Content::of(&*disk).unwrap(), expected);
        for n in next_sequence..next_sequence + 9 {
            let changes = some_changes(n);
            disk.commit(&head_after(head, n), &changes).unwrap();
            expected.apply(&changes);
        }
    }
}

#[test]
fn after_a_replacement_nothing_else_is_there_and_it_goes_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    disk.commit(&head, &some_changes(1)).unwrap();

    let mut expected = Content::default();
    expected.apply(&some_changes(2));
    disk.replace(&head_after(head, 2), &expected.all(), &[]).unwrap();
    assert_eq!(Content::of(&*disk).unwrap(), expected);
    disk.commit(&head_after(head, 3), &some_changes(3)).unwrap();
    expected.apply(&some_changes(3));
    assert_eq!(Content::of(&*disk).unwrap(), expected);
    drop(disk);

    let (disk, head, is_new) = open(&path, SCHEMA, 8).unwrap();
    assert_eq!((head, is_new), (Head { instance: 7, epoch: 2, next_sequence: 4 }, false));
    assert_eq!(Content::of(&*disk).unwrap(), expected);
}

#[test]
fn a_replacement_carries_batches_over_or_is_none() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    let batches = (10..20).map(|n| (n, Some(format!("batch {n}").into_bytes()))).collect();
    let mut changes = Changes { batches, ..Changes::default() };
    disk.commit(&head, &changes).unwrap();
    assert_eq!(disk.read(12).unwrap(), b"batch 12");

    let mut expected = Content::default();
    expected.apply(&some_changes(2));
    let missing = disk.replace(&head, &expected.all(), &[11..13, 18..21]).unwrap_err();
    assert!(missing.to_string().contains("batch 20 is missing"), "{missing}");
    disk.replace(&head, &expected.all(), &[11..13, 18..20]).unwrap();
    changes.batches.retain(|n, _| [11, 12, 18, 19].contains(n));
    expected.apply(&changes);
    assert_eq!(Content::of(&*disk).unwrap(), expected);
    assert!(disk.read(13).is_err());
    assert!(disk.commit(&head, &changes).is_err(), "nothing but a replacement may follow");
}

#[test]
fn a_second_buffer_is_told_that_it_is_in_use() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    assert!(matches!(open(&path, SCHEMA, 8), Err(JournalError::InUse { path: p }) if p == path));
    disk.replace(&head, &some_changes(1), &[]).unwrap();
    assert!(matches!(open(&path, SCHEMA, 8), Err(JournalError::InUse { .. })));
    drop(disk);
    open(&path, SCHEMA, 8).unwrap();
}

#[test]
fn what_a_crash_left_of_a_replacement_is_removed() {
    let folder = TempDir::new().unwrap();
    let (path, new) = (folder.path().join("journal"), folder.path().join("journal.new"));
    drop(open(&path, SCHEMA, 7).unwrap());
    fs::write(&new, "half").unwrap();
    drop(open(&path, SCHEMA, 7).unwrap());
    assert!(!new.exists());
}

#[cfg(unix)]
#[test]
fn a_replacement_takes_the_place_of_what_a_link_points_to() {
    let folder = TempDir::new().unwrap();
    let (path, link) = (folder.path().join("journal"), folder.path().join("link"));
    drop(open(&path, SCHEMA, 7).unwrap());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (mut disk, head, _) = open(&link, SCHEMA, 7).unwrap();
    disk.replace(&head, &some_changes(1), &[]).unwrap();
    drop(disk);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(Content::of(&*open(&path, SCHEMA, 7).unwrap().0).unwrap(), Content::default());
}

#[cfg(unix)]
#[test]
fn a_replacement_has_the_permissions_of_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    disk.replace(&head, &some_changes(1), &[]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
