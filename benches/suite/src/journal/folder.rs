//! Where files are that are to be on a disk.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::scale::Scale;

/// File systems that are in memory, on which a sync costs nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// A folder that is removed when it is dropped. An error if what is measured there would say nothing of a disk.
pub(super) fn make(scale: Scale) -> io::Result<TempDir> {
    let program = std::env::current_exe()?;
    let folder = tempfile::tempdir_in(program.parent().unwrap_or(Path::new(".")))?;
    let kind = file_system(folder.path())?;
    if scale.real && IN_MEMORY.contains(&kind.as_str()) {
        let message = format!("{} is in memory ({kind}), and not on a disk", folder.path().display());
        return Err(io::Error::other(message));
    }
    Ok(folder)
}

/// What the kernel says is mounted there.
fn file_system(folder: &Path) -> io::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().filter_map(|mount| {
        let mut words = mount.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    // The innermost, and of those the one mounted last.
    let nearest = mounted
        .filter(|(place, _)| folder.starts_with(place))
        .max_by_key(|(place, _)| Path::new(place).components().count());
    nearest
        .map(|(_, kind)| kind.to_owned())
        .ok_or_else(|| io::Error::other("no file system is mounted there"))
}
