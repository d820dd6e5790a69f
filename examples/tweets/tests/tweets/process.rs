//! The pipeline as a process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use test_servers::{LIMIT, signal};

/// Longer than a hundred thousand tweets take on a busy machine.
const END_WITHIN: Duration = Duration::from_secs(600);

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

impl Process {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, None)
    }

    /// As `start`; trusts this certificate only.
    pub(crate) fn start_trusting(certificate: &Path, options: &[&str]) -> Self {
        Self::start_with(options, Some(certificate))
    }

    fn start_with(options: &[&str], trusted: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tweets"));
        command.envs(trusted.map(|certificate| ("SSL_CERT_FILE", certificate)));
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        Process { child, lines, errors: Some(errors) }
    }

    /// Waits for the next line.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("it says something")
    }

    /// What nobody has asked for so far.
    fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub(crate) fn interrupt(&self) {
        assert!(signal(self.child.id(), "INT"), "it is gone");
    }

    /// Waits for the end; the lines are those that nobody has asked for.
    pub(crate) fn end(mut self) -> End {
        let deadline = Instant::now() + END_WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; it said {:#?}", self.said());
            std::thread::park_timeout(Duration::from_millis(10));
        };
        let errors = self.errors.take().unwrap().join().unwrap();
        End { code: status.code(), lines: self.lines.iter().collect(), errors }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// The line of the account that begins with `word`, without it.
    pub(crate) fn account(&self, word: &str) -> &str {
        let found = self.lines.iter().find_map(|line| line.strip_prefix(word));
        found.unwrap_or_else(|| panic!("no line {word:?}: {self:#?}")).trim()
    }

    pub(crate) fn assert_balanced(&self) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.account("balanced"), "every tweet is stored once or named as malformed");
        assert_eq!(self.errors, "");
    }

    /// The ids that the account names as malformed.
    pub(crate) fn malformed(&self) -> Vec<i64> {
        let lines = self.lines.iter().skip_while(|line| !line.starts_with("malformed")).skip(1);
        let lines = lines.take_while(|line| line.starts_with(' '));
        lines.flat_map(|line| line.split(',')).map(|id| id.trim().parse().unwrap()).collect()
    }
}
