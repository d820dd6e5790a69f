use std::cmp::min;
use std::collections::BTreeMap;
use std::io;

use rand::RngExt;
use rand::rngs::SmallRng;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// A file, as the machine sees it and as it may be on the disk.
#[derive(Debug, Default)]
pub(super) struct File {
    seen: Vec<u8>,
    /// On the disk for certain, if nothing of it is in `maybe`.
    synced: Vec<u8>,
    /// The sectors that were written since the last sync, with all that they have been, the oldest first.
    maybe: BTreeMap<usize, Vec<Sector>>,
    /// Likewise the file's length.
    maybe_len: Vec<usize>,
}

impl File {
    pub(super) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.seen.clone()
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        let part = self.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let from = min(self.seen.len(), len as usize);
        let until = self.seen.len().max(len as usize);
        self.seen.resize(len as usize, 0);
        self.maybe_len.push(self.seen.len());
        // What was beyond the end must not come back when the file grows again.
        for index in from / SECTOR..until.div_ceil(SECTOR) {
            if self.maybe.contains_key(&index) || index * SECTOR < self.synced.len() {
                self.note(index);
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + data.len());
        if end > self.seen.len() {
            self.set_len(end as u64);
        }
        self.seen[start..end].copy_from_slice(data);
        for index in start / SECTOR..end.div_ceil(SECTOR) {
            self.note(index);
        }
    }

    fn note(&mut self, index: usize) {
        let sector = sector(&self.seen, index);
        self.maybe.entry(index).or_default().push(sector);
    }

    pub(super) fn sync(&mut self) {
        self.synced.resize(self.seen.len(), 0);
        for index in std::mem::take(&mut self.maybe).into_keys() {
            put(&mut self.synced, index, &sector(&self.seen, index));
        }
        self.maybe_len.clear();
    }

    /// Whatever has not reached the disk now never will.
    pub(super) fn fail_to_sync(&mut self, chance: &mut SmallRng) {
        self.settle(chance);
    }

    /// What is left of it when the power is cut.
    pub(super) fn lose(&mut self, chance: &mut SmallRng) {
        self.settle(chance);
        self.seen = self.synced.clone();
    }

    fn settle(&mut self, chance: &mut SmallRng) {
        let lens = std::mem::take(&mut self.maybe_len);
        let kept = chance.random_range(0..=lens.len());
        if let Some(len) = kept.checked_sub(1).map(|last| lens[last]) {
            self.synced.resize(len, 0);
        }
        // Mostly all or nothing, as disks are; else sector by sector.
        let odds = [0.0, 1.0, 0.5, 0.03, 0.97][chance.random_range(0..5)];
        for (index, versions) in std::mem::take(&mut self.maybe) {
            if chance.random_bool(odds) {
                let last = versions.len() - 1;
                let version = if chance.random_bool(0.5) { last } else { chance.random_range(0..=last) };
                put(&mut self.synced, index, &versions[version]);
            }
        }
    }
}

fn sector(bytes: &[u8], index: usize) -> Sector {
    let mut sector = [0; SECTOR];
    let rest = bytes.get(index * SECTOR..).unwrap_or(&[]);
    let len = min(rest.len(), SECTOR);
    sector[..len].copy_from_slice(&rest[..len]);
    sector
}

fn put(bytes: &mut [u8], index: usize, sector: &Sector) {
    if let Some(rest) = bytes.get_mut(index * SECTOR..) {
        let len = min(rest.len(), SECTOR);
        rest[..len].copy_from_slice(&sector[..len]);
    }
}
