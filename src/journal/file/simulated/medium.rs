use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::fault::{self, Fault};
use super::pages::File;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

/// The disk, and the machine's view of it.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) operations: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) is_down: bool,
    /// How often it was started again.
    pub(super) session: u64,
    files: BTreeMap<FileId, File>,
    names: BTreeMap<PathBuf, FileId>,
    /// As of the last sync of the directory, and what has been done to it since.
    synced_names: BTreeMap<PathBuf, FileId>,
    unsynced: Vec<Naming>,
    next_id: u64,
    chance: SmallRng,
}

#[derive(Debug, Clone)]
enum Naming {
    Create(PathBuf, FileId),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Naming::Create(path, id) => drop(names.insert(path.clone(), *id)),
            Naming::Remove(path) => drop(names.remove(path)),
            Naming::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

impl Medium {
    pub(super) fn new(seed: u64) -> Self {
        Medium {
            operations: 0,
            faults: BTreeMap::new(),
            locks: BTreeSet::new(),
            is_down: false,
            session: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced: Vec::new(),
            next_id: 0,
            chance: SmallRng::seed_from_u64(seed),
        }
    }

    /// Fails when it is down.
    pub(super) fn session(&self) -> io::Result<u64> {
        if self.is_down { Err(fault::down()) } else { Ok(self.session) }
    }

    pub(super) fn cut_power(&mut self) {
        if self.is_down {
            return;
        }
        self.is_down = true;
        let kept = self.chance.random_range(0..=self.unsynced.len());
        for naming in self.unsynced.drain(..).take(kept) {
            naming.apply(&mut self.synced_names);
        }
        self.names = self.synced_names.clone();
        let named: BTreeSet<_> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
        for file in self.files.values_mut() {
            file.lose(&mut self.chance);
        }
    }

    pub(super) fn restart(&mut self) {
        self.cut_power();
        self.is_down = false;
        self.session += 1;
        self.locks.clear();
        self.faults.clear();
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let id = self.names.get(path)?;
        Some(self.files[id].content())
    }

    pub(super) fn put(&mut self, path: &Path, content: &[u8]) {
        let id = self.new_file();
        self.file(id).write(0, content);
        self.file(id).sync();
        Naming::Create(path.to_owned(), id).apply(&mut self.names);
        Naming::Create(path.to_owned(), id).apply(&mut self.synced_names);
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        self.step()?;
        // One that is there is emptied: its old content is as good as lost.
        let id = self.new_file();
        self.name(Naming::Create(path.to_owned(), id));
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.step()?;
        self.name(Naming::Remove(path.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        // A power cut may come before or after it has been noted.
        let naming = Naming::Rename(from.to_owned(), to.to_owned());
        if self.next_fault() == Some(Fault::PowerCut) {
            self.unsynced.push(naming.clone());
        }
        self.step()?;
        self.name(naming);
        Ok(())
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        self.step()?;
        self.synced_names = self.names.clone();
        self.unsynced.clear();
        Ok(())
    }

    pub(super) fn len(&mut self, id: FileId) -> io::Result<u64> {
        Ok(self.file(id).len())
    }

    pub(super) fn read(&mut self, id: FileId, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file(id).read(offset, out)
    }

    pub(super) fn set_len(&mut self, id: FileId, len: u64) -> io::Result<()> {
        if self.next_fault() == Some(Fault::PowerCut) {
            self.file(id).set_len(len);
        }
        self.step()?;
        self.file(id).set_len(len);
        Ok(())
    }

    pub(super) fn write(&mut self, id: FileId, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.next_fault() {
            Some(Fault::PowerCut) => self.file(id).write(offset, data),
            Some(Fault::Short | Fault::Kill) => self.file(id).write(offset, &data[..data.len() / 2]),
            _ => {}
        }
        self.step()?;
        self.file(id).write(offset, data);
        Ok(())
    }

    pub(super) fn sync(&mut self, id: FileId) -> io::Result<()> {
        if self.next_fault().is_some_and(Fault::fails) {
            let Medium { files, chance, .. } = self;
            files.get_mut(&id).into_iter().for_each(|file| file.fail_to_sync(chance));
        }
        self.step()?;
        self.file(id).sync();
        Ok(())
    }

    fn next_fault(&self) -> Option<Fault> {
        self.faults.get(&self.operations).copied().filter(|_| !self.is_down)
    }

    /// Counts an operation, and has it fail if it is to.
    fn step(&mut self) -> io::Result<()> {
        self.session()?;
        let fault = self.next_fault();
        self.operations += 1;
        match fault {
            Some(Fault::PowerCut) => self.cut_power(),
            Some(Fault::Kill) => self.is_down = true,
            _ => {}
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced.push(naming);
    }

    fn new_file(&mut self) -> FileId {
        let id = FileId(self.next_id);
        self.next_id += 1;
        self.files.insert(id, File::default());
        id
    }

    fn file(&mut self, id: FileId) -> &mut File {
        // Kept as long as it has a name, or is open in the session.
        self.files.entry(id).or_default()
    }
}
