//! The dead-letter file: increments that were accepted and could not be stored, one per line.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};

use crate::store::{LedgerId, Writer};

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// Unique, so that it is replayed once.
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) value: i64,
    /// The batch that may have been applied although nobody heard of it; replay asks the ledger.
    pub(crate) batch: Option<String>,
    attempts: u32,
    reason: String,
    /// Seconds since 1970, for people.
    at: u64,
}

impl Letter {
    pub(crate) fn new(key: &str, value: i64, batch: Option<LedgerId>, attempts: u32, reason: String) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let batch = batch.map(|batch| batch.to_string());
        Letter { id: String::new(), key: key.to_owned(), value, batch, attempts, reason, at }
    }
}

/// The file, which several processes may share: whoever reads or writes holds the lock beside it.
/// (Not on the file itself, which is replaced when lines leave it.)
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    writer: Writer,
    /// Numbers the letters. Relaxed, as the other: neither orders anything.
    next: AtomicU64,
    written: AtomicU64,
}

impl DeadLetters {
    /// Creates the file if it is missing, so that a path that cannot be written to is found now and
    /// not when it is needed.
    pub(crate) fn open(path: &Path, writer: Writer) -> io::Result<Self> {
        let letters = DeadLetters {
            path: path.to_owned(),
            writer,
            next: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let _lock = letters.lock()?;
        letters.open_file()?;
        letters.sync_directory()?;
        Ok(letters)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many letters this process has written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Adds letters; they are on the disk when this returns. All or none. Files block, so this is
    /// done on a thread of its own, also to the end if it is dropped meanwhile.
    pub(crate) async fn append(self: &Arc<Self>, letters: Vec<Letter>) -> io::Result<()> {
        let file = Arc::clone(self);
        tokio::task::spawn_blocking(move || file.append_now(letters)).await?
    }

    fn append_now(&self, letters: Vec<Letter>) -> io::Result<()> {
        let mut lines = Vec::new();
        let count = letters.len() as u64;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        for (number, letter) in (first..).zip(letters) {
            let id = format!("{:016x}-{number}", self.writer);
            serde_json::to_writer(&mut lines, &Letter { id, ..letter })?;
            lines.push(b'\n');
        }
        let _lock = self.lock()?;
        let mut file = self.open_file()?;
        let before = file.metadata()?.len();
        if !ends_with_newline(&mut file, before)? {
            // Somebody was killed in the middle of a line, which then was not acknowledged.
            lines.insert(0, b'\n');
        }
        file.write_all(&lines).and_then(|()| file.sync_all()).inspect_err(|_| {
            // Half a line would spoil the next one. If this fails as well there is no more to do.
            let _ = file.set_len(before).and_then(|()| file.sync_all());
        })?;
        self.written.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Reads all lines, for `rewrite`. Blocks.
    pub(crate) fn read(&self) -> io::Result<Lines> {
        let lock = self.lock()?;
        let mut content = Vec::new();
        self.open_file()?.read_to_end(&mut content)?;
        let lines = content.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(Lines { lines: lines.map(<[u8]>::to_vec).collect(), lock })
    }

    /// Keeps only these of the lines that were read. Blocks.
    pub(crate) fn rewrite(&self, read: Lines, kept: &[Vec<u8>]) -> io::Result<()> {
        let Lines { lines, lock: _lock } = read;
        if kept.len() < lines.len() { self.replace(kept) } else { Ok(()) }
    }

    /// Either the old file or the new one is there, at every instant.
    fn replace(&self, lines: &[Vec<u8>]) -> io::Result<()> {
        let path = self.beside(".new");
        let mut content = lines.join(&b'\n');
        if !content.is_empty() {
            content.push(b'\n');
        }
        let mut file = File::create(&path)?;
        file.write_all(&content)?;
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        self.sync_directory()
    }

    fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(self.beside(".lock"))?;
        FileExt::lock_exclusive(&file)?;
        Ok(file)
    }

    fn open_file(&self) -> io::Result<File> {
        OpenOptions::new().create(true).read(true).append(true).open(&self.path)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path: OsString = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// A new name in a directory is durable only when the directory is.
    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if cfg!(unix) { File::open(parent.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
    }
}

/// The lines of the file. Nobody else can read or write it as long as this exists.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Vec<u8>>,
    lock: File,
}

fn ends_with_newline(file: &mut File, len: u64) -> io::Result<bool> {
    if len == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(len - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
