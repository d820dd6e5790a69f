//! File systems that are soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own, as root on Linux can have it. Gone when dropped.
pub(crate) struct Small {
    mounted: TempDir,
    /// Where there is room.
    folder: PathBuf,
    /// What the file system is in, if it is not in memory.
    _image: Option<TempDir>,
}

impl Small {
    /// So large, in memory.
    pub(crate) fn new(kib: u32) -> Option<Self> {
        let mounted = TempDir::new().unwrap();
        let size = format!("size={kib}k");
        if !run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(mounted.path())) {
            eprintln!("skipped: no file system could be mounted; it takes root");
            return None;
        }
        Some(Small { folder: mounted.path().to_owned(), mounted, _image: None })
    }

    /// Larger, with a quota of so much.
    pub(crate) fn with_quota(kib: u32) -> Option<Self> {
        let (mounted, image) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (path, folder) = (image.path().join("image"), mounted.path().join("limited"));
        std::fs::File::create(&path).and_then(|file| file.set_len(128 << 20)).unwrap();
        if !run(Command::new("mkfs.btrfs").arg("-q").arg(&path))
            || !run(Command::new("mount").args(["-o", "loop"]).arg(&path).arg(mounted.path()))
        {
            eprintln!(
                "skipped: no btrfs could be mounted; it takes root, btrfs-progs and a kernel that has it"
            );
            return None;
        }
        let small = Small { folder, mounted, _image: Some(image) };
        let btrfs = |words: &[&str], path: &Path| run(Command::new("btrfs").args(words).arg(path));
        assert!(btrfs(&["-q", "subvolume", "create"], &small.folder), "a mounted btrfs takes subvolumes");
        assert!(btrfs(&["quota", "enable"], small.mounted.path()), "and quotas");
        assert!(btrfs(&["qgroup", "limit", &format!("{kib}K")], &small.folder), "and limits");
        Some(small)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.mounted.path()));
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
