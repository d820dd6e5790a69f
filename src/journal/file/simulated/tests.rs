use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn file(disk: &SimulatedDisk, name: &str) -> Box<dyn StorageBackend> {
    disk.create(Path::new(name), Path::new(name)).unwrap()
}

/// What is found after a power cut, over many seeds.
fn found(act: impl Fn(&SimulatedDisk)) -> BTreeSet<Option<Vec<u8>>> {
    let after_a_cut = |seed| {
        let disk = SimulatedDisk::new(seed);
        act(&disk);
        disk.restart();
        disk.read("file")
    };
    (0..200).map(after_a_cut).collect()
}

fn of<const N: usize>(contents: [Option<&[u8]>; N]) -> BTreeSet<Option<Vec<u8>>> {
    contents.into_iter().map(|content| content.map(<[u8]>::to_vec)).collect()
}

#[test]
fn what_was_synced_stays() {
    let synced = |disk: &SimulatedDisk| {
        let file = file(disk, "file");
        file.write(0, b"abc").unwrap();
        file.sync_data().unwrap();
        disk.sync_directory_of(Path::new("file")).unwrap();
    };
    assert_eq!(found(synced), of([Some(b"abc")]));
}

#[test]
fn without_its_directory_a_file_may_be_gone() {
    let unsynced = |disk: &SimulatedDisk| {
        let file = file(disk, "file");
        file.write(0, b"abc").unwrap();
        file.sync_data().unwrap();
    };
    assert_eq!(found(unsynced), of([None, Some(b"abc")]));
}

#[test]
fn a_rename_is_there_or_not() {
    let renamed = |disk: &SimulatedDisk| {
        disk.write("file", b"old");
        disk.write("new", b"new");
        disk.rename(Path::new("new"), Path::new("file")).unwrap();
    };
    assert_eq!(found(renamed), of([Some(b"new"), Some(b"old")]));
}

#[test]
fn what_was_not_synced_is_kept_or_lost_sector_by_sector() {
    let overwritten = |disk: &SimulatedDisk| {
        disk.write("file", &[0; 1024]);
        let file = disk.open(Path::new("file")).unwrap();
        file.write(511, &[1; 2]).unwrap();
    };
    let sectors: BTreeSet<_> =
        found(overwritten).into_iter().flatten().map(|it| (it[511], it[512])).collect();
    assert_eq!(sectors, BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
}

#[test]
fn after_a_failed_sync_another_one_does_not_help() {
    let synced_again = |disk: &SimulatedDisk| {
        disk.write("file", b"old");
        let file = disk.open(Path::new("file")).unwrap();
        file.write(0, b"new").unwrap();
        disk.fail_at(disk.operations(), Fault::Error);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
    };
    assert_eq!(found(synced_again), of([Some(b"new"), Some(b"old")]));
}

#[test]
fn faults_come_at_their_operations() {
    let disk = SimulatedDisk::new(0);
    disk.write("file", b"old");
    let file = disk.open(Path::new("file")).unwrap();
    for (operation, fault) in [Fault::Short, Fault::NoSpace, Fault::PowerCut].into_iter().enumerate() {
        disk.fail_at(operation as u64, fault);
    }
    file.write(0, b"newest").unwrap_err();
    assert_eq!(disk.read("file").unwrap(), b"new");
    assert_eq!(file.set_len(9).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), disk.is_down()), (3, false));
    file.sync_data().unwrap_err();
    assert!(disk.is_down());
    file.len().unwrap_err();

    disk.restart();
    assert_eq!(disk.operations(), 3);
    file.len().expect_err("it was open before the power was cut");
    disk.open(Path::new("file")).unwrap().len().unwrap();
}

#[test]
fn a_lock_is_free_when_it_is_dropped_or_the_power_was_cut() {
    let disk = SimulatedDisk::new(0);
    let held = disk.try_lock(Path::new("lock")).unwrap().unwrap();
    assert!(disk.try_lock(Path::new("lock")).unwrap().is_none());
    disk.restart();
    let after = disk.try_lock(Path::new("lock")).unwrap().unwrap();
    drop(held);
    assert!(disk.try_lock(Path::new("lock")).unwrap().is_none(), "one of before the cut is no longer one");
    drop(after);
    assert!(disk.try_lock(Path::new("lock")).unwrap().is_some());
}

#[test]
fn a_killed_process_leaves_what_it_has_written() {
    let disk = SimulatedDisk::new(0);
    let file = file(&disk, "file");
    file.write(0, b"abc").unwrap();
    disk.fail_at(disk.operations(), Fault::Kill);
    file.write(0, b"xyz!").unwrap_err();
    file.write(0, b"later").unwrap_err();
    disk.restart();
    assert_eq!(disk.read("file").unwrap(), b"xyc");
}
