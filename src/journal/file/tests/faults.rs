//! Power cuts and failing disks, at each operation of a history.

use std::path::Path;
use std::sync::Arc;

use super::{Content, SCHEMA, head_after, how_many, some_changes};
use crate::driver::journal::disk::{Disk, Head};
use crate::journal::JournalError;
use crate::journal::file::open_in;
use crate::journal::file::simulated::{Fault, SimulatedDisk};

const PATH: &str = "journal";

/// What is known of a journal from outside.
#[derive(Debug, Default)]
struct Known {
    instance: Option<u64>,
    epoch: u64,
    /// What the last call that returned `Ok` has left.
    certain: Content,
    /// What the calls that failed since would have left.
    possible: Vec<Content>,
    /// The number of the next changes.
    next: u64,
}

impl Known {
    /// Opens it, and looks whether what is there can be.
    fn open(&mut self, disk: &SimulatedDisk, new_instance: u64) -> Option<(Box<dyn Disk>, Head)> {
        let (opened, head, is_new) =
            open_in(Arc::new(disk.clone()), Path::new(PATH), SCHEMA, new_instance).ok()?;
        assert!(head.epoch > self.epoch, "{head:?} after {self:?}");
        assert_eq!(is_new, head.epoch == 1);
        if let Some(instance) = self.instance {
            assert_eq!(head.instance, instance);
        }
        let content = Content::of(&*opened).unwrap();
        assert!(content == self.certain || self.possible.contains(&content), "{content:#?} but {self:#?}");
        (self.instance, self.epoch) = (Some(head.instance), head.epoch);
        self.settle(content);
        Some((opened, head))
    }

    fn settle(&mut self, content: Content) {
        let last = content.batches.last_key_value().map_or(0, |(last, _)| *last);
        self.next = self.next.max(last + 1);
        self.certain = content;
        self.possible.clear();
    }

    fn commit(&mut self, disk: &mut dyn Disk, head: Head) -> Result<(), ()> {
        let (n, mut after) = (self.next, self.certain.clone());
        self.next += 1;
        after.apply(&some_changes(n));
        match disk.commit(&head_after(head, n), &some_changes(n)) {
            Ok(()) => self.settle(after),
            Err(_) => {
                self.possible.push(after);
                disk.commit(&head_after(head, n), &some_changes(n)).expect_err("nothing follows an error");
                return self.replace(disk, head).or_else(|()| self.replace(disk, head));
            }
        }
        Ok(())
    }

    /// A commit after a replacement has failed: whatever it says holds.
    fn go_on(&mut self, disk: &mut dyn Disk, head: Head) {
        let (n, mut after) = (self.next, self.certain.clone());
        self.next += 1;
        after.apply(&some_changes(n));
        match disk.commit(&head_after(head, n), &some_changes(n)) {
            Ok(()) => self.settle(after),
            Err(_) => self.possible.push(after),
        }
    }

    /// With something else than the last commit, which may have failed.
    fn replace(&mut self, disk: &mut dyn Disk, head: Head) -> Result<(), ()> {
        let (n, mut after) = (self.next, self.certain.clone());
        self.next += 1;
        after.apply(&some_changes(n));
        match disk.replace(&head_after(head, n), &after.all(), &[]) {
            Ok(()) => {
                assert_eq!(Content::of(disk).unwrap(), after);
                self.settle(after);
                Ok(())
            }
            Err(_) => {
                self.possible.push(after);
                Err(())
            }
        }
    }
}

/// Commits and replacements, until one fails for good.
fn history(disk: &SimulatedDisk, known: &mut Known) {
    let _ = (|| {
        for life in 1..=3 {
            let (mut open, head) = known.open(disk, life).ok_or(())?;
            for _ in 0..3 {
                known.commit(&mut *open, head)?;
            }
            if known.replace(&mut *open, head).is_err() {
                known.go_on(&mut *open, head);
                known.replace(&mut *open, head)?;
            }
            for _ in 0..2 {
                known.commit(&mut *open, head)?;
            }
        }
        Ok::<_, ()>(())
    })();
}

fn operations() -> u64 {
    let disk = SimulatedDisk::new(0);
    history(&disk, &mut Known::default());
    disk.operations()
}

fn with_fault(fault: Fault, at: u64, seed: u64) {
    let disk = SimulatedDisk::new(seed);
    let mut known = Known::default();
    disk.fail_at(at, fault);
    history(&disk, &mut known);
    disk.restart();

    // The power may go again while it recovers.
    disk.fail_at(disk.operations() + seed % 40, Fault::PowerCut);
    drop(known.open(&disk, 100));
    disk.restart();

    let (mut open, head) = known.open(&disk, 101).expect("it is in order");
    known.commit(&mut *open, head).unwrap();
    drop(open);
    known.open(&disk, 102).unwrap();
}

/// At each operation, with so many seeds, of which `WRITE_BEHIND_SEED` is the first.
fn at_each_operation(fault: Fault) {
    let (first, seeds) = (how_many("WRITE_BEHIND_SEED", 0), how_many("WRITE_BEHIND_DISK_SEEDS", 1));
    let operations = operations();
    for at in 0..operations {
        for seed in first..first + seeds {
            with_fault(fault, at, at + seed * operations);
        }
    }
    println!("counted: {} of {fault:?}", operations * seeds);
}

#[test]
fn after_a_power_cut_a_commit_is_there_or_not() {
    at_each_operation(Fault::PowerCut);
}

#[test]
fn after_a_kill_a_commit_is_there_or_not() {
    at_each_operation(Fault::Kill);
}

#[test]
fn what_failed_is_never_half_there() {
    at_each_operation(Fault::Error);
}

#[test]
fn what_a_full_disk_refused_is_never_half_there() {
    at_each_operation(Fault::NoSpace);
}

#[test]
fn what_was_cut_short_is_never_half_there() {
    at_each_operation(Fault::Short);
}

#[test]
fn nobody_else_can_have_it_while_it_is_broken() {
    let disk = SimulatedDisk::new(0);
    let mut known = Known::default();
    let (mut open, head) = known.open(&disk, 7).unwrap();
    for at in [disk.operations(), disk.operations() + 1] {
        disk.fail_at(at, Fault::Error);
    }
    open.commit(&head, &some_changes(1)).unwrap_err();
    open.replace(&head, &some_changes(1), &[]).unwrap_err();
    let opened = open_in(Arc::new(disk.clone()), Path::new(PATH), SCHEMA, 8);
    assert!(matches!(opened, Err(JournalError::InUse { .. })));
    drop(open);
    known.open(&disk, 8).unwrap();
}

#[test]
fn after_a_replacement_that_failed_what_is_committed_is_not_lost() {
    let seeds = 4 * how_many("WRITE_BEHIND_DISK_SEEDS", 1);
    let mut failures = 0;
    for seed in 0..seeds {
        for failing in 0.. {
            let disk = SimulatedDisk::new(seed);
            let mut known = Known::default();
            let (mut open, head) = known.open(&disk, 7).unwrap();
            known.commit(&mut *open, head).unwrap();
            disk.fail_at(disk.operations() + failing, Fault::Error);
            if known.replace(&mut *open, head).is_ok() {
                break;
            }
            failures += 1;
            known.go_on(&mut *open, head);
            disk.restart();
            known.open(&disk, 8).unwrap();
        }
    }
    assert!(failures > seeds * 5);
}
