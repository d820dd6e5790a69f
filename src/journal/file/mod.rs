//! A journal's file, kept by redb.
//!
//! Beside the file are two others while they are needed: `.lock`, held by whoever has the journal open, and `.new`,
//! a whole journal that is being written to take the file's place. So a file at the path is never a half-made one,
//! and a `.new` that is found when nobody has the journal open is what a crash has left of one. An empty file is damage:
//! none of this leaves one, so something else has emptied it, and who takes it for a new journal hides a loss.
//!
//! A commit is one sync. redb writes pages, a commit slot with the checksum of their root, and the byte that says which
//! slot counts, and if the power is cut before all of it is on the disk, the checksums say so and the slot before it
//! counts. Two syncs, one before that byte, would cost as much again, and tell a torn commit from a last one that was
//! damaged later and not closed. Checksums are otherwise only verified by a check of the whole file, so there is one
//! whenever it is opened; a million rows take less than a tenth of a second.

mod draft;
mod files;
#[cfg(any(test, feature = "test-util"))]
pub(crate) mod simulated;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};

use self::draft::Drafted;
use self::files::{Files, Lock, OnDisk};
use self::tables::Carried;
use self::trouble::Trouble;
use crate::driver::journal::disk::{Changes, Disk, Find, Head};
use crate::journal::JournalError;

/// The sequence of the first batch of all.
const FIRST: u64 = 1;

/// What a file of redb begins with.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A commit of a million rows is no faster with sixteen times as much.
const CACHE_BYTES: usize = 4 << 20;

/// Opens the journal, or makes one where there is no file; then it says `true`, and it is `new_instance`'s.
pub(crate) fn open(
    path: &Path,
    schema: &str,
    new_instance: u64,
) -> Result<(Box<dyn Disk>, Head, bool), JournalError> {
    open_in(Arc::new(OnDisk), path, schema, new_instance)
}

pub(crate) fn open_in(
    files: Arc<dyn Files>,
    path: &Path,
    schema: &str,
    new_instance: u64,
) -> Result<(Box<dyn Disk>, Head, bool), JournalError> {
    let opened = JournalFile::open(files, path, schema, new_instance);
    let (file, head, is_new) = opened.map_err(|trouble| trouble.at(path))?;
    Ok((Box::new(file), head, is_new))
}

#[derive(Debug)]
struct JournalFile {
    files: Arc<dyn Files>,
    path: PathBuf,
    schema: String,
    /// None after an error: what is on the disk is not known then.
    database: Option<Database>,
    /// Not on the file, which is replaced: a lock would be free, or another's, the moment that happens.
    _lock: Box<dyn Lock>,
}

impl JournalFile {
    fn open(
        files: Arc<dyn Files>,
        path: &Path,
        schema: &str,
        new_instance: u64,
    ) -> Result<(Self, Head, bool), Trouble> {
        let path = files.resolve(path)?;
        let _lock = files.try_lock(&beside(&path, ".lock"))?.ok_or(Trouble::InUse)?;
        remove_if_there(&*files, &beside(&path, ".new"))?;
        let mut file = JournalFile { files, path, schema: schema.into(), database: None, _lock };
        match file.files.open(&file.path) {
            Ok(storage) => {
                let head = file.reopen(storage)?;
                Ok((file, head, false))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let head = Head { instance: new_instance, epoch: 1, next_sequence: FIRST };
                file.write_afresh(&head.ahead(), &Changes::default(), &[])?;
                Ok((file, head, true))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at all of the file: redb verifies its checksums only while it repairs, and it repairs in place, so it gets
    /// a draft. Then goes on in a copy. Where the last sync of the file failed before its process ended, what is read from it is
    /// not what is on the disk, and no sync would change that any more.
    fn reopen(&mut self, storage: Box<dyn StorageBackend>) -> Result<Head, Trouble> {
        begins_like_a_journal(&*storage)?;
        let storage = Drafted::draft(storage)?;
        let mut head = {
            let database = database(storage.clone(), true).map_err(Trouble::of_reading)?;
            tables::read_head(&database, &self.schema).map_err(Trouble::of_reading)?
        };
        head.epoch += 1;
        self.put_in_place(|_, copy| {
            storage.copy_to(&*copy)?;
            let database = database(Drafted::direct(copy), false)?;
            tables::write(&database, &head.ahead(), &Changes::default())?;
            Ok(database)
        })?;
        Ok(head)
    }

    /// Puts a file in the place of the old one, which `write` may read from, if it is sound.
    fn put_in_place(
        &mut self,
        write: impl FnOnce(Option<&Database>, Box<dyn StorageBackend>) -> Result<Database, Trouble>,
    ) -> Result<(), Trouble> {
        let new_path = beside(&self.path, ".new");
        let created = self.files.create(&new_path, &self.path).map_err(Trouble::from);
        let written = created.and_then(|storage| write(self.database.as_ref(), storage));
        let written = written.inspect_err(|_| {
            // It takes room on a disk that may be full. If this fails as well, the next one overwrites it.
            let _ = self.files.remove(&new_path);
        })?;
        // From here on it is not known which of the two a crash would leave, until the directory is on the disk.
        let old = self.database.take();
        self.files.rename(&new_path, &self.path)?;
        self.files.sync_directory_of(&self.path)?;
        self.database = Some(written);
        drop(old);
        Ok(())
    }

    fn write_afresh(&mut self, head: &Head, all: &Changes, carried: &[Range<u64>]) -> Result<(), Trouble> {
        let schema = self.schema.clone();
        let again = match self.database {
            None if !carried.is_empty() => Some(self.read_again()?),
            _ => None,
        };
        self.put_in_place(|old, storage| {
            let database = database(Drafted::direct(storage), false)?;
            let carried = Carried { from: old.or(again.as_ref()), ranges: carried };
            tables::write_new(&database, &schema, head, all, carried)?;
            Ok(database)
        })
    }

    /// The file as it is on the disk, to be read only.
    fn read_again(&self) -> Result<Database, Trouble> {
        let storage = self.files.open(&self.path)?;
        begins_like_a_journal(&*storage)?;
        let database = database(Drafted::draft(storage)?, true).map_err(Trouble::of_reading)?;
        tables::read_head(&database, &self.schema).map_err(Trouble::of_reading)?;
        Ok(database)
    }

    fn read_batch(&self, sequence: u64) -> Result<Vec<u8>, Trouble> {
        let transaction = self.database()?.begin_read().map_err(redb::Error::from)?;
        let batches = transaction.open_table(tables::BATCHES).map_err(redb::Error::from)?;
        let content = batches.get(sequence).map_err(redb::Error::from)?;
        content.map(|content| content.value().to_vec()).ok_or_else(|| tables::lacks(sequence))
    }

    fn database(&self) -> Result<&Database, Trouble> {
        self.database.as_ref().ok_or_else(|| Trouble::Io(io::Error::other("closed after an error")))
    }

    fn find_all(&self, found: &mut dyn Find) -> Result<(), Found> {
        let transaction = self.database()?.begin_read().map_err(redb::Error::from)?;
        let batches = transaction.open_table(tables::BATCHES).map_err(redb::Error::from)?;
        for first in [true, false] {
            for row in batches.iter()? {
                let (sequence, content) = row?;
                if found.goes_first(content.value()) == first {
                    found.batch(sequence.value(), content.value()).map_err(Found::Refused)?;
                }
            }
        }
        for row in transaction.open_table(tables::PENDING).map_err(redb::Error::from)?.iter()? {
            let (key, value) = row?;
            found.pending(key.value(), value.value()).map_err(Found::Refused)?;
        }
        Ok(())
    }
}

/// Why rows were not read to the end.
enum Found {
    Refused(JournalError),
    Trouble(Trouble),
}

impl<T: Into<Trouble>> From<T> for Found {
    fn from(trouble: T) -> Self {
        Found::Trouble(trouble.into())
    }
}

impl Disk for JournalFile {
    fn load(&self, found: &mut dyn Find) -> Result<(), JournalError> {
        self.find_all(found).map_err(|why| match why {
            Found::Refused(error) => error,
            Found::Trouble(trouble) => trouble.of_reading().at(&self.path),
        })
    }

    fn commit(&mut self, head: &Head, changes: &Changes) -> Result<(), JournalError> {
        let written = self.database().and_then(|database| Ok(tables::write(database, head, changes)?));
        written.map_err(|trouble| {
            self.database = None;
            trouble.at(&self.path)
        })
    }

    fn replace(&mut self, head: &Head, all: &Changes, carried: &[Range<u64>]) -> Result<(), JournalError> {
        self.write_afresh(head, all, carried).map_err(|trouble| trouble.at(&self.path))
    }

    fn read(&mut self, sequence: u64) -> Result<Vec<u8>, JournalError> {
        self.read_batch(sequence).map_err(|trouble| {
            self.database = None;
            trouble.of_reading().at(&self.path)
        })
    }
}

fn database(storage: Drafted, check: bool) -> Result<Database, Trouble> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
    Ok(builder.create_with_backend(storage).map_err(redb::Error::from)?)
}

/// Not what any file is that redb has written; it would take an empty one for a new one.
fn begins_like_a_journal(storage: &dyn StorageBackend) -> Result<(), Trouble> {
    let len = storage.len()?;
    let mut start = [0; MAGIC.len()];
    if len == 0 {
        return Err(Trouble::Damaged("it is empty".into()));
    }
    if len >= MAGIC.len() as u64 {
        storage.read(0, &mut start)?;
    }
    if start == *MAGIC { Ok(()) } else { Err(Trouble::Foreign) }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path: OsString = path.to_owned().into_os_string();
    path.push(ending);
    path.into()
}

fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
