//! What only a process of its own can tell is measured in one: this program once more, with an argument
//! that says what to do.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

const MARK: &str = "child:";

/// If this process is a child, has `task` do what it is asked to.
pub(crate) fn work(task: impl Fn(&[&str]) -> io::Result<()>) -> Option<ExitCode> {
    let asked = std::env::args().find_map(|argument| Some(argument.strip_prefix(MARK)?.to_owned()))?;
    let words: Vec<&str> = asked.split(':').collect();
    Some(match task(&words) {
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
