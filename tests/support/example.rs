//! Finds the binary of an example.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The example that this test binary is about, beside the test's own binary. `cargo test` builds it;
/// `cargo test --test counters` does not, so it is built here if it is missing or older than its
/// sources.
pub(crate) fn example(name: &str) -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let binary = profile.join("examples").join(file);
        if modified(&binary).is_none_or(|built| built < newest_source(name)) {
            build(name, profile);
        }
        assert!(binary.is_file(), "{} is missing: run `cargo build --examples`", binary.display());
        binary
    })
}

fn build(name: &str, profile: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--example", name, "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    command.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success(), "the example does not build");
}

fn newest_source(name: &str) -> SystemTime {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut directories = vec![root.join("src"), root.join("examples").join(name)];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                newest = newest.max(modified(&path).unwrap());
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
