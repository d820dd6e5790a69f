//! A real Postgres for one test, thrown away afterwards.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::sql::SqlClient;

pub struct PostgresServer {
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    directory: TempDir,
    port: u16,
    tls: bool,
}

impl PostgresServer {
    /// `None`, and a line that says so, where Postgres is not installed.
    pub fn start() -> Option<Self> {
        let mut server = Self::create()?;
        server.bring_up();
        Some(server)
    }

    /// As `start`; speaks TLS to those who ask for it.
    pub fn start_with_tls() -> Option<Self> {
        let mut server = Self::create()?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = server.directory.path().join("data/server.key");
        fs::write(server.certificate(), made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = server.owner {
            chown(&key, Some(uid), Some(gid)).unwrap();
        }
        server.tls = true;
        server.bring_up();
        Some(server)
    }

    fn create() -> Option<Self> {
        let Some(programs) = find_programs() else {
            let required = std::env::var_os("WRITE_BEHIND_REQUIRE_SERVERS").is_some_and(|value| value == "1");
            assert!(!required, "Postgres is required and `initdb` is nowhere to be found");
            eprintln!("skipped: Postgres is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().metadata().unwrap().uid() == 0;
        // Postgres refuses to run as root.
        let owner = root.then(|| user("postgres").expect("as root, the tests need a user `postgres`"));
        if let Some((uid, gid)) = owner {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = PostgresServer { programs, owner, directory, port: 0, tls: false };
        let data = server.data();
        server.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]);
        Some(server)
    }

    fn bring_up(&mut self) {
        self.port = free_port();
        self.control("start");
    }

    /// What to trust to trust this server, which must speak TLS.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("data/server.crt")
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same database, reached through another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn client(&self) -> SqlClient {
        SqlClient::connect(&self.url())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `start`, `stop` or `restart`. Without mercy: connections break, nothing is finished.
    pub fn control(&self, what: &str) {
        let (data, log) = (self.data(), self.directory.path().join("log"));
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=60 -c ssl={}",
            self.port,
            if self.tls { "on" } else { "off" },
        );
        let mut arguments = vec![what, "-D", &data, "-w", "-t", "60"];
        if what != "start" {
            arguments.extend(["-m", "immediate"]);
        }
        if what != "stop" {
            arguments.extend(["-l", log.to_str().unwrap(), "-o", &options]);
        }
        self.run("pg_ctl", &arguments);
    }

    fn data(&self) -> String {
        self.directory.path().join("data").to_str().unwrap().to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.directory.path());
        // Pipes would be inherited by the server and never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        let status = command.status().unwrap();
        assert!(status.success(), "{program} {arguments:?}: {status}\n{}", self.log());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if Path::new(&self.data()).join("postmaster.pid").exists() {
            let stop = || self.control("stop");
            // A second panic would hide the test's own.
            if catch_unwind(AssertUnwindSafe(stop)).is_err() {
                eprintln!("Postgres in {} could not be stopped", self.directory.path().display());
            }
        }
    }
}

/// In the path, or where Debian has it.
fn find_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let all_here =
        |directory: &PathBuf| ["initdb", "pg_ctl"].iter().all(|program| directory.join(program).is_file());
    debian.chain(std::env::split_paths(&path)).find(all_here)
}

fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Nobody listens here at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
