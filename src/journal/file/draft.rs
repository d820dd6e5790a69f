//! A file that is looked at before it is written to.

use std::cmp::min;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use redb::{BackendError, StorageBackend};

const PAGE: u64 = 4096;

/// How much is copied at once.
const CHUNK: usize = 1 << 20;

/// A file to which nothing is written. What would have been is seen by whoever reads it through this.
#[derive(Debug, Clone)]
pub(super) struct Drafted(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn StorageBackend>,
    /// Guards what has not been written. `None`: everything is.
    draft: Option<Mutex<Draft>>,
}

#[derive(Debug)]
struct Draft {
    len: u64,
    /// Of the file, as much as it is still to be read.
    base_len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Drafted {
    pub(super) fn draft(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let len = file.len()?;
        let draft = Draft { len, base_len: len, pages: BTreeMap::new() };
        Ok(Drafted(Arc::new(Inner { file, draft: Some(draft.into()) })))
    }

    /// Without a draft.
    pub(super) fn direct(file: Box<dyn StorageBackend>) -> Self {
        Drafted(Arc::new(Inner { file, draft: None }))
    }

    fn draft_of(&self) -> Option<MutexGuard<'_, Draft>> {
        self.0.draft.as_ref().map(Mutex::lock)
    }

    /// Writes all of it into an empty file, and syncs that.
    pub(super) fn copy_to(&self, file: &dyn StorageBackend) -> io::Result<()> {
        let len = self.len()?;
        file.set_len(len)?;
        let mut chunk = vec![0; CHUNK];
        for offset in (0..len).step_by(CHUNK) {
            let chunk = &mut chunk[..min(CHUNK as u64, len - offset) as usize];
            self.read(offset, chunk)?;
            file.write(offset, chunk)?;
        }
        file.sync_data()
    }
}

impl Draft {
    fn read(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (index, within, part) in pages(offset, out) {
            match self.pages.get(&index) {
                Some(page) => part.copy_from_slice(&page[within..within + part.len()]),
                None => self.read_base(file, index * PAGE + within as u64, part)?,
            }
        }
        Ok(())
    }

    fn read_base(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = min(self.base_len.saturating_sub(offset), out.len() as u64) as usize;
        let (there, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        if there.is_empty() { Ok(()) } else { file.read(offset, there) }
    }

    fn write(&mut self, file: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut copy = data.to_vec();
        for (index, within, part) in pages(offset, &mut copy) {
            if !self.pages.contains_key(&index) {
                let mut page = Box::new([0; PAGE as usize]);
                self.read_base(file, index * PAGE, &mut *page)?;
                self.pages.insert(index, page);
            }
            if let Some(page) = self.pages.get_mut(&index) {
                page[within..within + part.len()].copy_from_slice(part);
            }
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.base_len = min(self.base_len, len);
            drop(self.pages.split_off(&len.div_ceil(PAGE)));
            if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
                page[(len % PAGE) as usize..].fill(0);
            }
        }
        self.len = len;
    }
}

/// The parts of pages that a range consists of: which page, where in it, and the part.
fn pages(mut offset: u64, mut rest: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let within = (offset % PAGE) as usize;
        let len = min(PAGE as usize - within, rest.len());
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
        let index = offset / PAGE;
        (offset, rest) = (offset + part.len() as u64, after);
        Some((index, within, part))
    })
}

impl StorageBackend for Drafted {
    fn len(&self) -> io::Result<u64> {
        self.draft_of().map_or_else(|| self.0.file.len(), |draft| Ok(draft.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.draft_of() {
            Some(draft) => draft.read(&*self.0.file, offset, out),
            None => self.0.file.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.draft_of() {
            Some(mut draft) => draft.set_len(len),
            None => self.0.file.set_len(len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.draft.is_some() { Ok(()) } else { self.0.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.draft_of() {
            Some(mut draft) => draft.write(&*self.0.file, offset, data),
            None => self.0.file.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::file::files::Files;
    use crate::journal::file::simulated::SimulatedDisk;

    const PATH: &str = "file";

    proptest! {
        #[test]
        fn a_draft_is_read_as_if_it_were_written(
            base in 0_usize..3 * PAGE as usize,
            steps in prop::collection::vec((0_usize..4 * PAGE as usize, 1_usize..6000, any::<bool>()), 0..12),
        ) {
            let disk = SimulatedDisk::new(0);
            disk.write(PATH, &vec![255; base]);
            let draft = Drafted::draft(disk.open(Path::new(PATH)).unwrap()).unwrap();
            let mut expected = vec![255; base];
            for (n, (at, len, is_write)) in (1..).zip(steps) {
                if is_write {
                    expected.resize(expected.len().max(at + len), 0);
                    expected[at..at + len].fill(n);
                    draft.write(at as u64, &vec![n; len]).unwrap();
                } else {
                    expected.resize(at, 0);
                    draft.set_len(at as u64).unwrap();
                }
                let mut read = vec![0; expected.len()];
                draft.read(0, &mut read).unwrap();
                prop_assert_eq!(draft.len().unwrap(), expected.len() as u64);
                prop_assert!(read == expected);
                prop_assert!(draft.read(1, &mut vec![0; expected.len()]).is_err(), "beyond the end");
            }
            prop_assert!(disk.read(PATH).unwrap() == vec![255; base], "the file is as it was");
            draft.copy_to(&*disk.create(Path::new("copy"), Path::new(PATH)).unwrap()).unwrap();
            prop_assert!(disk.read("copy").unwrap() == expected);
        }
    }
}
