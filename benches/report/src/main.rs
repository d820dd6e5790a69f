//! Makes `BENCHMARKS.md` and the charts of what `benches/suite` and `scripts/compare-http` have recorded.
//!
//!     cargo run -p report
//!
//! Reads the raw data in `DATA` (benches/data), and hand-written explanations in benches/report/notes, one
//! file per topic. Writes to the folder `OUT` (the current one).

mod chart;
mod http;
mod layout;
mod numbers;
mod page;
mod recording;
mod statistics;
mod targets;
mod topics;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::http::Profile;
use crate::page::{Section, page};
use crate::recording::Recording;
use crate::topics::{Shape, TOPICS, Topic, topic};

/// Wherever this is started.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const DATA: &str = "benches/data";
const CHARTS: &str = "benches/charts";
const NOTES: &str = "benches/report/notes";

fn main() -> ExitCode {
    let folder = |name, default| std::env::var_os(name).map_or(default, PathBuf::from);
    match write(&folder("DATA", Path::new(REPOSITORY).join(DATA)), &folder("OUT", ".".into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the page and its charts.
fn write(data: &Path, out: &Path) -> io::Result<()> {
    let recordings = read(data)?;
    let profile = read_profile(data)?;
    fs::create_dir_all(out.join(CHARTS))?;
    let unknown: Vec<Topic> = recordings.iter().map(unknown_topic).collect();
    let mut sections = Vec::new();
    for (recording, unknown) in recordings.iter().zip(&unknown) {
        let topic = topic(&recording.topic).unwrap_or(unknown);
        let chart = format!("{CHARTS}/{}.svg", recording.topic);
        fs::write(out.join(&chart), chart::draw(recording, topic)?)?;
        let note = Path::new(REPOSITORY).join(NOTES).join(format!("{}.md", recording.topic));
        let note = fs::read_to_string(note).ok();
        sections.push(Section { recording, topic, chart, note });
    }
    let path = out.join("BENCHMARKS.md");
    fs::write(&path, page(&sections, profile.as_ref()))?;
    println!("{} topics: {}", sections.len(), path.display());
    Ok(())
}

/// All recordings in a folder, in the order of the topics, and then those that nobody knows.
fn read(data: &Path) -> io::Result<Vec<Recording>> {
    let about = |path: &Path, error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    let files = fs::read_dir(data).map_err(|error| about(data, error))?;
    let mut paths = files.map(|file| Ok(file?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut recordings = Vec::new();
    for path in &paths {
        let read = match path.file_name().and_then(|name| name.to_str()) {
            Some("profile.json") => continue,
            Some("http.jsonl") => http::read_rounds(path),
            Some(name) if name.ends_with(".json") => Recording::read(path),
            _ => continue,
        };
        recordings.push(read.map_err(|error| about(path, error))?);
    }
    if recordings.is_empty() {
        return Err(about(data, io::Error::other("there is no data; scripts/bench makes it")));
    }
    let place = |recording: &Recording| TOPICS.iter().position(|topic| topic.name == recording.topic);
    recordings.sort_by_key(|recording| place(recording).unwrap_or(usize::MAX));
    Ok(recordings)
}

fn read_profile(data: &Path) -> io::Result<Option<Profile>> {
    let path = data.join("profile.json");
    if path.exists() { http::read_profile(&path).map(Some) } else { Ok(None) }
}

/// Its name is all that is known of it.
fn unknown_topic(recording: &Recording) -> Topic {
    let name: &'static str = recording.topic.clone().leak();
    Topic { name, title: name, about: "", targets: &[], shape: Shape::Bars }
}
