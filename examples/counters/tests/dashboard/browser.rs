//! A browser without a screen: loads a page, lets its scripts run for a while, and says what it became.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use test_servers::eventually;

pub(crate) struct Browser {
    program: PathBuf,
}

/// What a page has become.
pub(crate) struct Seen {
    pub(crate) dom: String,
    /// With what scripts and the browser complained about.
    pub(crate) log: String,
}

impl Browser {
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .flat_map(|folder| {
                ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
            })
            .find(|program| program.is_file());
        let Some(program) = found else {
            let required = std::env::var_os("WRITE_BEHIND_REQUIRE_SERVERS").is_some_and(|value| value == "1");
            assert!(!required, "chromium is required and nowhere to be found");
            eprintln!("skipped: chromium is not installed");
            return None;
        };
        Some(Browser { program })
    }

    /// Looks at a page five seconds after it was loaded. Those pass faster than ours.
    pub(crate) fn look(&self, url: &str) -> Seen {
        let folder = tempfile::tempdir().unwrap();
        let (dom, log) = (folder.path().join("dom"), folder.path().join("log"));
        let mut command = Command::new(&self.program);
        // The sandbox does not work for root, whom containers run tests as. The page is our own.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.args([
            "--disable-background-networking",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
        ]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.args(["--dump-dom", url]).env("HOME", folder.path()).stdin(Stdio::null());
        command.stdout(File::create(&dom).unwrap()).stderr(File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the browser is done", || process.try_wait().unwrap())
        }));
        let Ok(status) = ended else {
            let _ = process.kill().and_then(|()| process.wait());
            panic!("the browser did not come to an end: {}", read(&log));
        };
        let seen = Seen { dom: read(&dom), log: read(&log) };
        assert!(status.success() && !seen.dom.is_empty(), "{status}: {}", seen.log);
        seen
    }
}

/// Without styles and scripts, for messages.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.dom.split_once("<main").map_or(&*self.dom, |(_, body)| body);
        f.write_str(body.split_once("<script").map_or(body, |(body, _)| body))
    }
}

impl Seen {
    /// The HTML in the element of this id, of which it must hold no other of the same kind.
    pub(crate) fn html(&self, id: &str) -> &str {
        let (before, rest) =
            self.dom.split_once(&format!(" id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {self:?}"));
        let kind = before.rsplit_once('<').unwrap().1.split(' ').next().unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        rest.split_once(&format!("</{kind}>")).unwrap().0
    }

    pub(crate) fn is_hidden(&self, id: &str) -> bool {
        let (_, rest) = self.dom.split_once(&format!(" id=\"{id}\"")).unwrap();
        rest.split_once('>').unwrap().0.contains("hidden")
    }
}
