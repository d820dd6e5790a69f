mod damage;
mod faults;
mod kept;
mod processes;
mod refused;

use std::collections::BTreeMap;

use crate::driver::journal::disk::{Changes, Disk, Find, Head};
use crate::journal::JournalError;

pub(super) const SCHEMA: &str = "u64 → Sum<i64>";

/// All that a journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) pending: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) batches: BTreeMap<u64, Vec<u8>>,
}

impl Content {
    pub(super) fn of(disk: &dyn Disk) -> Result<Self, JournalError> {
        let mut content = Content::default();
        disk.load(&mut content)?;
        Ok(content)
    }

    pub(super) fn apply(&mut self, changes: &Changes) {
        for (key, value) in changes.pending.iter() {
            match value {
                Some(value) => drop(self.pending.insert(key.to_vec(), value.to_vec())),
                None => drop(self.pending.remove(key)),
            }
        }
        for (sequence, content) in &changes.batches {
            match content {
                Some(content) => drop(self.batches.insert(*sequence, content.clone())),
                None => drop(self.batches.remove(sequence)),
            }
        }
    }

    pub(super) fn all(&self) -> Changes {
        let mut changes = Changes::default();
        for (key, value) in &self.pending {
            changes.pending.row(key, Some(value));
        }
        changes.batches = self.batches.iter().map(|(sequence, it)| (*sequence, Some(it.clone()))).collect();
        changes
    }
}

impl Find for Content {
    fn goes_first(&self, _: &[u8]) -> bool {
        true
    }

    fn pending(&mut self, key: &[u8], value: &[u8]) -> Result<(), JournalError> {
        assert_eq!(self.pending.insert(key.to_vec(), value.to_vec()), None, "a key twice");
        Ok(())
    }

    fn batch(&mut self, sequence: u64, content: &[u8]) -> Result<(), JournalError> {
        assert!(self.batches.last_key_value().is_none_or(|(last, _)| *last < sequence), "out of order");
        self.batches.insert(sequence, content.to_vec());
        Ok(())
    }
}

/// A key with a value, another without one, a batch that begins and one that ends: `n` says which.
pub(super) fn some_changes(n: u64) -> Changes {
    let mut changes = Changes::default();
    let key = |n: u64| (n % 7).to_be_bytes();
    changes.pending.row(&key(n), Some(format!("value {n}").as_bytes()));
    changes.pending.row(&key(n + 3), None);
    changes.batches.insert(n, Some(format!("batch {n}").into_bytes()));
    if n > 2 {
        changes.batches.insert(n - 2, None);
    }
    changes
}

/// How much is tried: from the environment, or what takes seconds.
pub(crate) fn how_many(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |number| number.parse().expect("a number"))
}

pub(super) fn head_after(head: Head, n: u64) -> Head {
    Head { next_sequence: n + 1, ..head }
}
