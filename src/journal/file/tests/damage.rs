//! Damage is found, and never read as data.

use std::path::Path;
use std::sync::Arc;

use super::{Content, SCHEMA, head_after, how_many, some_changes};
use crate::journal::JournalError;
use crate::journal::file::open_in;
use crate::journal::file::simulated::SimulatedDisk;

const PATH: &str = "journal";

/// The bytes of a journal, and all that was ever committed to it.
struct Sample {
    bytes: Vec<u8>,
    states: Vec<(u64, Content)>,
}

impl Sample {
    fn new(is_closed: bool) -> Self {
        let disk = SimulatedDisk::new(0);
        let (mut open, head, _) = open_in(Arc::new(disk.clone()), Path::new(PATH), SCHEMA, 7).unwrap();
        let mut content = Content::default();
        let mut states = vec![(1, content.clone())];
        for n in 1..=12 {
            open.commit(&head_after(head, n), &some_changes(n)).unwrap();
            content.apply(&some_changes(n));
            states.push((n + 1, content.clone()));
        }
        if !is_closed {
            disk.cut_power();
        }
        drop(open);
        disk.restart();
        Sample { bytes: disk.read(PATH).unwrap(), states }
    }

    /// A committed state is found, or the file is refused and stays what it is. Says which.
    fn try_as(&self, bytes: &[u8]) -> bool {
        let disk = SimulatedDisk::new(0);
        disk.write(PATH, bytes);
        match open_in(Arc::new(disk.clone()), Path::new(PATH), SCHEMA, 8) {
            Ok((open, head, _)) => {
                assert_eq!(head.instance, 7);
                let found = (head.next_sequence, Content::of(&*open).unwrap());
                assert!(self.states.contains(&found), "{found:#?}");
                true
            }
            Err(error) => {
                let is_named = matches!(error, JournalError::Damaged { .. } | JournalError::Foreign { .. });
                assert!(is_named, "{error:?}");
                assert!(disk.read(PATH).as_deref() == Some(bytes));
                false
            }
        }
    }
}

/// Those that are tried: of the header all, and of the rest one in so many, which the environment may say.
fn one_in(otherwise: u64, header: usize) -> impl Fn(usize) -> bool {
    let step = how_many("WRITE_BEHIND_DISK_STEP", otherwise) as usize;
    move |number| number < header || number % step == number / step % step
}

#[test]
fn a_file_is_cut_short() {
    for is_closed in [true, false] {
        let sample = Sample::new(is_closed);
        assert!(sample.try_as(&sample.bytes));
        let is_tried = one_in(64, 320);
        let mut tried = 0;
        for len in (0..sample.bytes.len()).filter(|len| is_tried(*len)) {
            assert!(!sample.try_as(&sample.bytes[..len]), "{len} of {}", sample.bytes.len());
            tried += 1;
        }
        println!("counted: {tried} lengths of {}", sample.bytes.len());
    }
}

#[test]
fn a_bit_is_flipped() {
    for is_closed in [true, false] {
        let sample = Sample::new(is_closed);
        let is_tried = one_in(509, 320 * 8);
        let mut tried = 0;
        for bit in (0..sample.bytes.len() * 8).filter(|bit| is_tried(*bit)) {
            let mut bytes = sample.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            sample.try_as(&bytes);
            tried += 1;
        }
        println!("counted: {tried} bits of {}", sample.bytes.len() * 8);
    }
}

#[test]
fn a_page_is_lost() {
    for is_closed in [true, false] {
        let sample = Sample::new(is_closed);
        for page in 0..sample.bytes.len() / 512 {
            let mut bytes = sample.bytes.clone();
            bytes[page * 512..(page + 1) * 512].fill(0);
            sample.try_as(&bytes);
        }
    }
}
