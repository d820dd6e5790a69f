//! The file, which several processes may share: whoever reads or writes holds the lock beside it. (Not on the file
//! itself, which is replaced when lines leave it.)

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
}

/// Nobody else reads or writes the file as long as this exists.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    file: &'a LineFile,
    /// Holds how often the file was replaced. Closed, and with it the lock given up, when this is dropped.
    lock: File,
}

impl LineFile {
    /// Creates the file if it is missing, so that a path that cannot be written to is found now and not when it is
    /// needed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = LineFile { path: path.to_owned() };
        let locked = file.lock()?;
        locked.open()?;
        file.sync_directory()?;
        drop(locked);
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for others who have it.
    pub(super) fn lock(&self) -> io::Result<Locked<'_>> {
        let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).clone();
        let lock = options.open(self.beside(".lock"))?;
        fs4::FileExt::lock(&lock)?;
        Ok(Locked { file: self, lock })
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

impl Locked<'_> {
    fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).read(true).append(true).open(&self.file.path)
    }

    /// How often the file was replaced, by whomever.
    pub(super) fn generation(&self) -> io::Result<u64> {
        let (mut lock, mut text) = (&self.lock, String::new());
        lock.seek(SeekFrom::Start(0))?;
        lock.read_to_string(&mut text)?;
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// All lines.
    pub(super) fn read(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut content = Vec::new();
        self.open()?.read_to_end(&mut content)?;
        let lines = content.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(<[u8]>::to_vec).collect())
    }

    /// Adds lines, each with its end; they are on the disk when this returns `Ok`, and not in the file otherwise.
    pub(super) fn append(&self, mut lines: Vec<u8>) -> io::Result<()> {
        let mut file = self.open()?;
        let before = file.metadata()?.len();
        if !ends_with_newline(&mut file, before)? {
            // Somebody was killed in the middle of a line, which then was not acknowledged.
            lines.insert(0, b'\n');
        }
        file.write_all(&lines).and_then(|()| file.sync_all()).inspect_err(|_| {
            // Half a line would spoil the next one. If this fails as well there is no more to do.
            let _ = file.set_len(before).and_then(|()| file.sync_all());
        })
    }

    /// Either the old lines or these are there, at every instant.
    pub(super) fn replace(&self, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut lock = &self.lock;
        let next = format!("{:020}\n", self.generation()?.wrapping_add(1));
        lock.seek(SeekFrom::Start(0))?;
        lock.write_all(next.as_bytes())?;
        lock.sync_all()?;
        let path = self.file.beside(".new");
        let mut file = File::create(&path)?;
        for line in lines {
            file.write_all(line)?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        fs::rename(&path, &self.file.path)?;
        self.file.sync_directory()
    }
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
