//! Builds a test and runs a piece of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::row::{By, Counts, Part};

/// Whoever takes longer hangs.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// A tree of the sources, and where it is built.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) sources: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) is_release: bool,
}

/// A test that is built.
#[derive(Debug)]
pub(crate) struct Built {
    program: PathBuf,
    /// What it is told first.
    arguments: Vec<OsString>,
    /// Where tests of its package run.
    folder: PathBuf,
}

/// What a test had to say.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counted: u64,
    pub(crate) failure: Option<String>,
    pub(crate) took: Duration,
}

impl Tree {
    /// Of this repository.
    pub(crate) fn here(repository: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target"));
        Tree { sources: repository.to_owned(), target: repository.join(target), is_release: true }
    }

    pub(crate) fn build(&self, part: &Part) -> io::Result<Built> {
        let mut cargo = Command::new("cargo");
        if let Some(toolchain) = &part.toolchain {
            cargo.arg(format!("+{toolchain}"));
        }
        if part.by == By::Miri {
            cargo.arg("miri");
        }
        cargo.current_dir(&self.sources).args(["test", "--quiet", "--package", &part.package]);
        cargo.args(&part.arguments);
        if self.is_release && part.by != By::Miri {
            cargo.arg("--release");
        }
        match &part.features {
            Some(features) => cargo.args(["--features", features]),
            None => cargo.arg("--all-features"),
        };
        match &part.test {
            Some(test) => cargo.args(["--test", test]),
            None => cargo.arg("--lib"),
        };
        let kind = part.rustflags.iter().chain(&part.toolchain).flat_map(|name| name.chars());
        let kind: String = kind.filter(char::is_ascii_alphanumeric).collect();
        cargo.arg("--target-dir").arg(self.target.join(kind));
        if let Some(flags) = &part.rustflags {
            cargo.env("RUSTFLAGS", flags);
        }
        if part.by == By::Miri {
            // Which builds as it runs.
            let arguments = cargo.get_args().map(OsString::from).chain([OsString::from("--")]).collect();
            return Ok(Built { program: "cargo".into(), arguments, folder: self.sources.clone() });
        }
        cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let output = cargo.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{} does not compile", part.source)));
        }
        find(&output.stdout).ok_or_else(|| io::Error::other(format!("there is no test of {}", part.name)))
    }
}

/// In what cargo says: the test program, and where its manifest is.
fn find(said: &[u8]) -> Option<Built> {
    let mut messages = said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let is_test = |message: &Value| message["profile"]["test"] == true && message["executable"].is_string();
    let message: Value = messages.rfind(is_test)?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let folder = manifest.parent()?.to_owned();
    Some(Built { program: message["executable"].as_str()?.into(), arguments: Vec::new(), folder })
}

impl Built {
    /// Has it try so much, with that seed. What it says goes to `log`.
    pub(crate) fn run(&self, part: &Part, asked: u64, seed: u64, log: &Path) -> io::Result<Outcome> {
        let begun = Instant::now();
        fs::create_dir_all(log.parent().unwrap_or(Path::new(".")))?;
        let output = File::create(log)?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).args(&self.arguments);
        command.args([&part.filter, "--nocapture", "--include-ignored"]);
        if part.last_name().contains('_') {
            command.arg("--exact");
        }
        command.envs(&part.set).envs(part.count.iter().map(|name| (name, asked.to_string())));
        command.env("WRITE_BEHIND_SEED", seed.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
        command.env("WRITE_BEHIND_REQUIRE_SERVERS", "1");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = wait(&mut command, begun + LIMIT)?;
        let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let counted = match part.counts {
            Counts::Asked => asked,
            Counts::Said => numbers(&said, "counted: "),
            Counts::Passed => numbers(&said, "test result: ok. "),
        };
        let failure = failure(status, &said, counted);
        Ok(Outcome { counted, failure, took: begun.elapsed() })
    }
}

/// Until it ends, or is stopped, because it hangs.
fn wait(command: &mut Command, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// A test that was not there, or tried nothing, has not passed.
fn failure(status: Option<ExitStatus>, said: &str, counted: u64) -> Option<String> {
    let Some(status) = status else { return Some("it hangs".to_owned()) };
    if !status.success() {
        return Some(format!("{status}: {}", complaint(said)));
    }
    let passed = said.contains("test result: ok. ") && !said.contains("test result: ok. 0 passed");
    if !passed || said.contains("skipped: ") {
        return Some("nothing was tested".to_owned());
    }
    (counted == 0).then(|| "nothing was tried".to_owned())
}

/// What follows the first panic.
fn complaint(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    lines.next();
    let text: String = lines.next().unwrap_or("no panic").chars().take(300).collect();
    text
}

/// The sum of the numbers that follow these words.
fn numbers(said: &str, words: &str) -> u64 {
    let numbers = said.split(words).skip(1).map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse::<u64>().unwrap_or(0)
    });
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_counted_is_added_up() {
        let counted = |said| numbers(said, "counted: ");
        assert_eq!(counted("test a ... counted: 12 cuts\nb counted: 30\nok"), 42);
        assert_eq!(counted("test result: ok. 1 passed"), 0);
    }

    #[test]
    fn a_test_that_is_not_there_has_not_passed() {
        let status = Command::new("true").status().unwrap();
        let of = |said| failure(Some(status), said, 1);
        assert_eq!(of("test result: ok. 1 passed; 0 failed"), None);
        assert!(of("test result: ok. 0 passed; 0 failed").is_some());
        assert!(of("skipped: Postgres is not installed\ntest result: ok. 1 passed").is_some());
        assert!(failure(Some(status), "test result: ok. 1 passed", 0).is_some());
        assert!(failure(None, "test result: ok. 1 passed", 1).is_some());
    }

    #[test]
    fn the_first_panic_says_why() {
        let status = Command::new("false").status().unwrap();
        let said = "running 1 test\nthread 'a' panicked at tests/a.rs:1:2:\nkey 3 is lost\nand more";
        assert!(failure(Some(status), said, 1).unwrap().ends_with(": key 3 is lost"));
    }
}
