//! Applies the dead letters of earlier runs, each once.

use std::io;

use crate::dead_letters::{DeadLetters, Letter};
use crate::store::{LedgerId, Replay, Replayed, Store, StoreError};

/// How many letters one transaction replays.
const CHUNK: usize = 1_000;

/// What became of the file's lines.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) added: usize,
    pub(crate) were_there: usize,
    /// Lines that stay in the file, and why the first of them does.
    pub(crate) kept: usize,
    pub(crate) first_problem: Option<String>,
}

/// A line that makes sense.
struct Parsed {
    letter: Letter,
    batch: Option<LedgerId>,
    line: Vec<u8>,
}

/// Replays the file. Being killed anywhere in here, and starting again, changes nothing: each
/// letter's id is recorded in the transaction that applies it, and the file is replaced afterwards.
///
/// # Errors
///
/// Of the file, or the first one of the database that was not a letter's own fault.
pub(crate) async fn replay(
    letters: &DeadLetters,
    store: &dyn Store,
) -> io::Result<Result<Report, StoreError>> {
    let read = letters.read()?;
    let mut progress = Progress { store, kept: Vec::new(), report: Report::default(), trouble: None };
    let mut parsed = Vec::new();
    for line in &read.lines {
        match parse(line) {
            Ok((letter, batch)) => parsed.push(Parsed { letter, batch, line: line.clone() }),
            Err(problem) => progress.keep(line.clone(), problem),
        }
    }
    // Rows are locked in the same order as by everybody else.
    parsed.sort_by(|a, b| a.letter.key.cmp(&b.letter.key));
    for chunk in parsed.chunks(CHUNK) {
        progress.settle(chunk).await;
    }
    let Progress { kept, report, trouble, .. } = progress;
    letters.rewrite(read, &kept)?;
    Ok(trouble.map_or(Ok(report), Err))
}

fn parse(line: &[u8]) -> Result<(Letter, Option<LedgerId>), String> {
    let letter: Letter = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if letter.id.is_empty() {
        return Err("the id is missing, without which it might count twice".to_owned());
    }
    let batch = letter.batch.as_deref().map(str::parse).transpose()?;
    Ok((letter, batch))
}

struct Progress<'a> {
    store: &'a dyn Store,
    kept: Vec<Vec<u8>>,
    report: Report,
    trouble: Option<StoreError>,
}

impl Progress<'_> {
    /// All in one transaction; if a letter is to blame, halves, until it is alone.
    async fn settle(&mut self, chunk: &[Parsed]) {
        let mut chunks = vec![chunk];
        while let Some(chunk) = chunks.pop() {
            if self.trouble.is_some() {
                self.kept.extend(chunk.iter().map(|parsed| parsed.line.clone()));
                continue;
            }
            match self.store.replay(chunk.iter().map(Parsed::to_replay).collect()).await {
                Ok(replayed) => {
                    chunk.iter().zip(replayed).for_each(|(parsed, replayed)| self.tick_off(parsed, replayed));
                }
                Err(StoreError::Data(_) | StoreError::Contended(_)) if chunk.len() > 1 => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    chunks.extend([second, first]);
                }
                Err(StoreError::Data(problem)) => {
                    chunk.iter().for_each(|parsed| self.keep(parsed.line.clone(), problem.clone()));
                }
                Err(trouble) => {
                    self.trouble = Some(trouble);
                    chunks.push(chunk);
                }
            }
        }
    }

    fn tick_off(&mut self, parsed: &Parsed, replayed: Replayed) {
        match replayed {
            Replayed::Added => self.report.added += 1,
            Replayed::WasThere => self.report.were_there += 1,
            Replayed::CannotTell => {
                let batch = parsed.letter.batch.as_deref().unwrap_or_default();
                let problem = format!("this database does not know whether batch {batch} was applied");
                self.keep(parsed.line.clone(), problem);
            }
        }
    }

    fn keep(&mut self, line: Vec<u8>, problem: String) {
        self.kept.push(line);
        self.report.kept += 1;
        self.report.first_problem.get_or_insert(problem);
    }
}

impl Parsed {
    fn to_replay(&self) -> Replay {
        let Letter { id, key, value, .. } = self.letter.clone();
        Replay { id, key, value, batch: self.batch }
    }
}
