//! Finds the binary of an example, for tests that run it as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The example beside the test's own binary. `cargo test` builds it; `cargo test --test …` does not, so
/// it is built here if it is missing or older than its sources.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let binary = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if modified(&binary).is_none_or(|built| built < newest_source(name)) {
        build(name, profile);
    }
    assert!(binary.is_file(), "{} is missing: run `cargo build --examples`", binary.display());
    binary
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
    assert!(command.status().unwrap().success(), "the example {name} does not build");
}

fn newest_source(name: &str) -> SystemTime {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = root.join("examples");
    let mut left = vec![root.join("src"), examples.join(name), examples.join(name).with_extension("rs")];
    let mut newest = SystemTime::UNIX_EPOCH;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if let Some(time) = modified(&path) {
            newest = newest.max(time);
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
