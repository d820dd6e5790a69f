//! The service as a process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use test_servers::{LIMIT, signal};

use crate::http::Client;

/// A directory for what a service writes; outlives the processes that run in it.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { directory: tempfile::tempdir().unwrap() }
    }

    /// Where services run.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the folder that they keep theirs in if they are not told another.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("counters-data").join(name)
    }

    /// Writes such a file before there is a service.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The lines of the dead-letter file.
    pub(crate) fn dead_letters(&self) -> Vec<String> {
        let content = fs::read_to_string(self.path("dead-letters.jsonl")).unwrap_or_default();
        content.lines().map(str::to_owned).collect()
    }

    /// Has a service replay the dead letters, and come to its end before it can take them out of the file: as if killed
    /// at that point.
    pub(crate) fn fail_to_replace_the_dead_letters(&self, options: &[&str]) {
        let in_the_way = self.path("dead-letters.jsonl.new");
        fs::create_dir(&in_the_way).unwrap();
        let before = self.dead_letters();
        let (code, text) = run(self, options);
        assert!(code == Some(2) && text.contains("dead-letter file"), "{text}");
        assert_eq!(self.dead_letters(), before);
        fs::remove_dir(in_the_way).unwrap();
    }

    /// Starts a service on a free port and waits until it listens.
    pub(crate) fn start(&self, options: &[&str]) -> Service {
        Service::start(self.directory.path(), options, None)
    }

    /// As `start`; trusts this certificate only.
    pub(crate) fn start_trusting(&self, certificate: &Path, options: &[&str]) -> Service {
        Service::start(self.directory.path(), options, Some(certificate))
    }

    /// Starts a service and kills it soon after, whatever it has come to.
    pub(crate) fn start_and_kill(&self, options: &[&str], after: Duration) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counters"));
        command.current_dir(self.directory()).args(["--listen", "127.0.0.1:0"]).args(options);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Runs the service to its end: exit code and all that it wrote.
pub(crate) fn run(home: &Home, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counters"));
    command.current_dir(home.directory()).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !options.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let child = command.spawn().unwrap();
    let pid = child.id();
    let (ended, end) = channel();
    std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
    let Ok(Output { status, stdout, stderr }) = end.recv_timeout(LIMIT) else {
        signal(pid, "KILL");
        panic!("{options:?} did not stop the start");
    };
    let text = [stdout, stderr].map(|output| String::from_utf8(output).unwrap()).concat();
    (status.code(), text)
}

/// Killed when dropped.
pub(crate) struct Service {
    pid: u32,
    pub(crate) url: String,
    exit: Receiver<ExitStatus>,
    exited: bool,
    errors: Option<JoinHandle<String>>,
}

impl Service {
    fn start(directory: &Path, options: &[&str], trusted: Option<&Path>) -> Self {
        let mut command = Command::new("env");
        // A file that may not grow is an error then and not the end: `limit_files`.
        command.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_counters")]);
        command.current_dir(directory).args(["--listen", "127.0.0.1:0"]).args(options);
        command.envs(trusted.map(|certificate| ("SSL_CERT_FILE", certificate)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, says) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| said.send(line))
        });
        let pid = child.id();
        let (exited, exit) = channel();
        std::thread::spawn(move || child.wait().map(|status| exited.send(status)));
        let mut service = Service { pid, url: String::new(), exit, exited: false, errors: Some(errors) };
        let line = says.recv_timeout(LIMIT).expect("the service says where it listens");
        match line.trim().strip_prefix("listening on ") {
            Some(url) => url.clone_into(&mut service.url),
            None => panic!("it did not start: {:?}", service.wait()),
        }
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Files may not become larger than this from now on, or than they like.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let mut limits = Command::new("prlimit");
        limits.arg(format!("--pid={}", self.pid)).arg(format!("--fsize={limit}:unlimited"));
        assert!(limits.status().unwrap().success());
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(self.pid, name), "the service is gone");
    }

    /// Waits for the end: the exit code, none if it was killed, and what it wrote to stderr.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let status = self.exit.recv_timeout(LIMIT).expect("the service comes to an end");
        self.exited = true;
        (status.code(), self.errors.take().unwrap().join().unwrap())
    }

    /// SIGTERM, and everything must have been stored.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let (code, errors) = self.wait();
        assert_eq!(code, Some(0), "{errors}");
        errors
    }

    pub(crate) fn kill(mut self) {
        self.signal("KILL");
        self.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.exited {
            // It may have come to its end unasked. A panic in here would hide the test's own and leave
            // other processes running.
            signal(self.pid, "KILL");
            let _ = self.exit.recv_timeout(LIMIT);
            if std::thread::panicking() {
                eprintln!("the service said: {}", self.errors.take().unwrap().join().unwrap());
            }
        }
    }
}
