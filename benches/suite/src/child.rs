//! What only a process of its own can tell is measured in one: this program once more, with an argument
//! that says what to do.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::{buffers, idle, memory};

const MARK: &str = "child:";

/// If this process is a child, does what it is asked to.
pub(crate) fn work() -> Option<ExitCode> {
    let asked = std::env::args().find_map(|argument| Some(argument.strip_prefix(MARK)?.to_owned()))?;
    let words: Vec<&str> = asked.split(':').collect();
    let done = match words[..] {
        ["buffers", count, interval_ms] => buffers::child(count, interval_ms),
        ["idle", who, keys, watch_ms] => idle::child(who, keys, watch_ms),
        ["memory", peer, key, count] => memory::child(peer, key, count),
        _ => Err(io::Error::other(format!("nobody knows how to {asked}"))),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{asked}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Has a child do something; returns what it prints.
pub(crate) fn ask(words: &[&str]) -> io::Result<String> {
    ask_of(&std::env::current_exe()?, words)
}

/// As [`ask`], of this or another build of this program.
pub(crate) fn ask_of(program: &Path, words: &[&str]) -> io::Result<String> {
    let asked = words.join(":");
    let output = Command::new(program).arg(format!("{MARK}{asked}")).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
