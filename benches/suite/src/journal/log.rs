//! What one writes by hand so that nothing is lost: a record for each insert, at the end of a file.

use std::collections::HashMap;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use parking_lot::Mutex;
use write_behind::RandomState;

/// Key and amount.
const RECORD: usize = 16;

pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Log(Mutex::new(File::create_new(path)?)))
    }

    /// Returns when the record is on disk.
    pub(super) fn append(&self, key: u64) -> io::Result<()> {
        let mut file = self.0.lock();
        file.write_all(&record(key))?;
        file.sync_data()
    }

    /// All of them at once, and returns when they are on disk.
    pub(super) fn append_all(&self, keys: &[u64]) -> io::Result<()> {
        let records: Vec<u8> = keys.iter().flat_map(|&key| record(key)).collect();
        let mut file = self.0.lock();
        file.write_all(&records)?;
        file.sync_data()
    }

    pub(super) fn records(&self) -> io::Result<u64> {
        Ok(self.0.lock().metadata()?.len() / RECORD as u64)
    }
}

fn record(key: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&key.to_le_bytes());
    record[8..].copy_from_slice(&1_i64.to_le_bytes());
    record
}

/// A record for each of so many keys.
pub(super) fn write(path: &Path, keys: u64) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    (0..keys).try_for_each(|key| file.write_all(&record(key)))?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Adds up what the records say.
pub(super) fn read(path: &Path) -> io::Result<HashMap<u64, i64, impl BuildHasher + use<>>> {
    let mut sums: HashMap<u64, i64, RandomState> = HashMap::default();
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut record = [0; RECORD];
    loop {
        match file.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(sums),
            Err(error) => return Err(error),
        }
        let (key, amount) = record.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).expect("eight bytes");
        *sums.entry(number(key)).or_default() += number(amount) as i64;
    }
}
