//! Several processes, and one that is killed.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Content, SCHEMA, head_after, some_changes};
use crate::journal::JournalError;
use crate::journal::file::open;

const PATH: &str = "WRITE_BEHIND_TEST_JOURNAL";

/// Another process of this program, in which only [`another_process`] runs.
fn spawn(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "journal::file::tests::processes::another_process", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What such a process commits, until it is killed. It says when it has.
#[test]
fn another_process() {
    let Some(path) = env::var_os(PATH).map(PathBuf::from) else { return };
    let (mut disk, head, _) = open(&path, SCHEMA, 7).unwrap();
    for n in 1.. {
        disk.commit(&head_after(head, n), &some_changes(n)).unwrap();
        println!("\ncommitted {n}");
    }
}

fn wait_for(child: &mut Child, line: &str) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|said| said == line), "it never said {line}");
}

#[test]
fn what_another_process_has_open_is_in_use_until_it_is_killed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let mut child = spawn(&path);
    wait_for(&mut child, "committed 20");
    assert!(matches!(open(&path, SCHEMA, 8), Err(JournalError::InUse { .. })));
    child.kill().unwrap();
    child.wait().unwrap();

    let (disk, head, _) = open(&path, SCHEMA, 8).unwrap();
    let mut expected = Content::default();
    (1..head.next_sequence).for_each(|n| expected.apply(&some_changes(n)));
    assert_eq!((head.instance, head.epoch), (7, 2));
    assert!(head.next_sequence > 20);
    assert_eq!(Content::of(&*disk).unwrap(), expected);
}
