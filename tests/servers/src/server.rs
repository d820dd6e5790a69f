//! A real server of one program for one test, thrown away afterwards.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::postgres_server::free_port;
use crate::signal::signal;
use crate::wait::eventually;

pub struct Server {
    program: PathBuf,
    /// What it is started with, in its directory.
    arguments: fn(port: u16) -> Vec<String>,
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Keeps its data through restarts.
    pub fn start(program: &'static str, arguments: fn(u16) -> Vec<String>) -> Option<Self> {
        let Some(program) = find(program) else {
            let required = std::env::var_os("WRITE_BEHIND_REQUIRE_SERVERS").is_some_and(|value| value == "1");
            assert!(!required, "{program} is required and nowhere to be found");
            eprintln!("skipped: {program} is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server { program, arguments, directory, port: free_port(), process: None };
        server.bring_up();
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it runs and keeps its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Without mercy: it is killed.
    pub fn restart(&mut self) {
        self.kill();
        self.bring_up();
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM: it writes down what it knows.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            assert!(signal(process.id(), "TERM"), "the server is gone");
            process.wait().unwrap();
        }
    }

    pub fn bring_up(&mut self) {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.args((self.arguments)(self.port)).current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        eventually("the server listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// In the path, or where Debian has servers.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories.map(|directory| directory.join(program)).find(|program| program.is_file())
}
