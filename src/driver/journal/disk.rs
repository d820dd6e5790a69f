//! What a journal asks of a file.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::journal::JournalError;

/// What a file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Whose batches these are, for the life of the file.
    pub(crate) instance: u64,
    /// How often it was opened, this time included.
    pub(crate) epoch: u64,
    /// Nobody has ever seen a batch of this or a higher sequence.
    pub(crate) next_sequence: u64,
}

/// How many sequences may be used until the next commit: those that a start passes over, because nobody knows
/// whether they were.
const AHEAD: u64 = 1 << 32;

impl Head {
    pub(crate) fn ahead(self) -> Head {
        Head { next_sequence: self.next_sequence + AHEAD, ..self }
    }
}

/// Rows to be written, or found.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// What is pending of each key from now on; `None`: nothing. No key twice. Sorted, if they are many.
    pub(crate) pending: Rows,
    /// The content of batches from now on, by sequence; `None`: it is over.
    pub(crate) batches: BTreeMap<u64, Option<Vec<u8>>>,
}

/// Keys and values, all in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

impl Rows {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|Row { key, value }| {
            (&self.bytes[key.clone()], value.clone().map(|value| &self.bytes[value]))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row as it is.
    #[cfg(test)]
    pub(crate) fn row(&mut self, key: &[u8], value: Option<&[u8]>) {
        let add = |bytes: &[u8], out: &mut Vec<u8>| {
            out.extend(bytes);
            Ok::<(), ()>(())
        };
        let _ = self.push(|out| add(key, out), value.map(|value| move |out: &mut Vec<u8>| add(value, out)));
    }

    /// Adds a row of what `key` and `value` write, or none if one of them fails.
    pub(crate) fn push<E>(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: Option<impl FnOnce(&mut Vec<u8>) -> Result<(), E>>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let written = self.write(key).and_then(|key| {
            let value = value.map(|value| self.write(value)).transpose()?;
            Ok(Row { key, value })
        });
        match written {
            Ok(row) => self.rows.push(row),
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Range<usize>, E> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        Ok(start..self.bytes.len())
    }

    /// Sorts by key; of several rows of a key the last one stays.
    pub(crate) fn settle(&mut self) {
        let Rows { bytes, rows } = self;
        rows.sort_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
        rows.reverse();
        rows.dedup_by(|a, b| bytes[a.key.clone()] == bytes[b.key.clone()]);
        rows.reverse();
    }
}

/// Takes what is found: pending rows, and batches.
pub(crate) trait Find {
    /// Whether a batch is to be found before those of which this is not so.
    fn goes_first(&self, content: &[u8]) -> bool;
    fn pending(&mut self, key: &[u8], value: &[u8]) -> Result<(), JournalError>;
    fn batch(&mut self, sequence: u64, content: &[u8]) -> Result<(), JournalError>;
}

/// A file with two tables, `pending` and `batches`. Nothing of it is open any more when it is dropped.
pub(crate) trait Disk: Send {
    /// Every row there is: first the batches, by sequence, and then what is pending.
    fn load(&self, found: &mut dyn Find) -> Result<(), JournalError>;

    /// All or nothing, and on the disk when it returns. After an error nothing may follow but
    /// [`replace`](Self::replace).
    fn commit(&mut self, head: &Head, changes: &Changes) -> Result<(), JournalError>;

    /// Writes a fresh file that holds these rows, the batches that the old one has of these sequences, and no others, and
    /// puts it in the place of the old one: on the disk when it returns. After an error the old file is where it was, and
    /// it may be tried again.
    fn replace(&mut self, head: &Head, all: &Changes, carried: &[Range<u64>]) -> Result<(), JournalError>;

    /// The content of a batch. After an error nothing may follow but [`replace`](Self::replace).
    fn read(&mut self, sequence: u64) -> Result<Vec<u8>, JournalError>;
}
