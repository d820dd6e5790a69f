//! Deliberate faults: each is put into a copy of the sources, and the test that guards the promise has to fail.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::battery::Battery;
use crate::error::about;
use crate::record::Trial;
use crate::row::{Mutant, Row};
use crate::run::Tree;
use crate::today;

/// Whether each is found.
pub(crate) fn run(battery: &Battery<'_>, rows: &[&Row]) -> io::Result<bool> {
    let copy = battery.tree.target.join("torture/mutant");
    // Its own: cargo takes a tree elsewhere for the same one, and what is built of a fault for what is built of the sources.
    let target = battery.tree.target.join("torture/mutant-target");
    let tree = Tree { sources: copy, target, is_release: false };
    let mut all_found = true;
    for row in rows {
        for mutant in &row.mutants {
            copy_sources(&battery.tree.sources, &tree.sources)?;
            let begun = Instant::now();
            let (killed, said) = meet(battery, row, mutant, &tree)?;
            all_found &= killed;
            let answer = if killed { "found" } else { "NOT FOUND" };
            let seconds = begun.elapsed().as_secs_f64().round();
            eprintln!("{:2} {answer}: {} ({seconds} s; {said})", row.number, mutant.what);
            let (commit, what) = (battery.commit.clone(), mutant.what.clone());
            let trial = Trial { mutant: what, date: today(), commit, killed, said, seconds };
            battery.data.add_trial(row, &trial)?;
        }
    }
    Ok(all_found)
}

/// Whether the test that guards the row fails, and what it says.
fn meet(battery: &Battery<'_>, row: &Row, mutant: &Mutant, tree: &Tree) -> io::Result<(bool, String)> {
    let path = tree.sources.join(&mutant.file);
    let text = fs::read_to_string(&path).map_err(|error| about(&path, error))?;
    let mutated = mutated(&text, mutant).map_err(|error| about(&path, error))?;
    fs::write(&path, mutated)?;
    let part = row.part(&mutant.part).ok_or_else(|| about(&path, "the mutant names no part"))?;
    let built = tree.build(part)?;
    let outcome = built.run(part, mutant.count, 1, &battery.log(row, part).with_extension("mutant.log"))?;
    match outcome.failure {
        None => Ok((false, format!("{} {} passed", outcome.counted, part.unit))),
        Some(failure) => Ok((true, failure.chars().take(120).collect())),
    }
}

/// The text with the fault in it.
pub(crate) fn mutated(text: &str, mutant: &Mutant) -> Result<String, String> {
    match text.matches(&mutant.find).count() {
        1 => Ok(text.replace(&mutant.find, &mutant.replace)),
        times => Err(format!("what \"{}\" replaces is there {times} times", mutant.what)),
    }
}

/// What git knows of, as it is. What is the same keeps its time, so that it is not built again.
fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    let output = Command::new("git").current_dir(from).args(["ls-files", "-z"]).output()?;
    if !output.status.success() {
        return Err(io::Error::other("git does not tell which files there are"));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: BTreeSet<&str> =
        names.split_terminator('\0').filter(|name| from.join(name).is_file()).collect();
    for name in &names {
        let (source, target) = (from.join(name), to.join(name));
        let content = fs::read(&source)?;
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::create_dir_all(target.parent().unwrap_or(to))?;
            fs::write(target, content)?;
        }
    }
    remove_others(to, to, &names)
}

/// What was there for an earlier commit.
fn remove_others(root: &Path, folder: &Path, names: &BTreeSet<&str>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, names)?;
        } else if !path
            .strip_prefix(root)
            .ok()
            .and_then(Path::to_str)
            .is_some_and(|name| names.contains(name))
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
