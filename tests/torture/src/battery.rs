//! Runs what is missing, piece by piece.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::about;
use crate::record::{Data, Piece, Reached, read_lines};
use crate::row::{Part, Row, Seeds};
use crate::run::{Built, Tree};
use crate::today;

pub(crate) struct Battery<'a> {
    pub(crate) tree: Tree,
    pub(crate) data: &'a Data,
    pub(crate) commit: String,
}

/// A part on its way to its count.
struct Course<'a> {
    row: &'a Row,
    part: &'a Part,
    /// Built when it is first run.
    built: Option<Built>,
}

impl<'a> Battery<'a> {
    pub(crate) fn new(repository: &Path, data: &'a Data, commit: String) -> Self {
        Battery { tree: Tree::here(repository), data, commit }
    }

    pub(crate) fn list(&self, rows: &[&Row]) -> io::Result<()> {
        for row in rows {
            let pieces = self.data.pieces(row)?;
            println!("{:2} {}", row.number, row.title);
            for part in &row.parts {
                let Reached { counted, failures, .. } = Reached::of(&part.name, &pieces);
                println!("   {}", bar(part, counted, failures));
            }
        }
        Ok(())
    }

    /// While the file is open nobody else runs anything from here: two would use the same seeds.
    pub(crate) fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.tree.target)?;
        let path = self.tree.target.join("torture.lock");
        let file = File::create(&path).map_err(|error| about(&path, error))?;
        file.try_lock().map_err(|_| about(&path, "somebody else runs the battery"))?;
        Ok(file)
    }

    /// Whether no piece failed. A part whose piece has failed is left alone.
    pub(crate) fn run(&self, rows: &[&Row], deadline: Option<Instant>) -> io::Result<bool> {
        let courses = rows.iter().flat_map(|row| row.parts.iter().map(move |part| (*row, part)));
        let mut courses: Vec<_> = courses.map(|(row, part)| Course { row, part, built: None }).collect();
        let mut is_well = true;
        while !courses.is_empty() {
            let mut next = Vec::new();
            for mut course in courses {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(is_well);
                }
                match self.piece(&mut course)? {
                    Some(true) => next.push(course),
                    Some(false) => is_well = false,
                    None => {}
                }
            }
            courses = next;
        }
        Ok(is_well)
    }

    /// Whether it passed; `None` if there is nothing to be done.
    fn piece(&self, course: &mut Course<'_>) -> io::Result<Option<bool>> {
        let Course { row, part, built } = course;
        let reached = Reached::of(&part.name, &self.data.pieces(row)?);
        if reached.counted >= part.target {
            return Ok(None);
        }
        let built = match built {
            Some(built) => built,
            None => built.insert(self.tree.build(part)?),
        };
        let seeds = match part.seeds {
            Seeds::One => 1,
            Seeds::Each => part.piece,
            Seeds::None => 0,
        };
        let outcome = built.run(part, part.piece, reached.next_seed, &self.log(row, part))?;
        let piece = Piece {
            part: part.name.clone(),
            date: today(),
            commit: self.commit.clone(),
            first_seed: reached.next_seed,
            seeds,
            asked: part.piece,
            counted: outcome.counted,
            seconds: (outcome.took.as_secs_f64() * 10.0).round() / 10.0,
            failure: outcome.failure,
        };
        self.data.add_piece(row, &piece)?;
        let Reached { counted, failures, .. } = Reached::of(&part.name, &self.data.pieces(row)?);
        eprintln!("{:2} {} {:.1} s", row.number, bar(part, counted, failures), piece.seconds);
        if let Some(failure) = &piece.failure {
            eprintln!(
                "   FAILED with seed {}: {failure}\n   {}",
                piece.first_seed,
                self.log(row, part).display()
            );
        }
        Ok(Some(piece.failure.is_none()))
    }

    /// Once more what a line of the raw data says.
    pub(crate) fn again(&self, rows: &[Row], file: &Path, line: usize) -> io::Result<bool> {
        let pieces: Vec<Piece> = read_lines(file)?;
        let piece = line.checked_sub(1).and_then(|index| pieces.get(index));
        let piece = piece.ok_or_else(|| about(file, format!("there is no line {line}")))?;
        let number = file.file_stem().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let row = rows.iter().find(|row| Some(row.number) == number);
        let found = row.and_then(|row| Some((row, row.part(&piece.part)?)));
        let (row, part) =
            found.ok_or_else(|| about(file, format!("there is no part \"{}\" any more", piece.part)))?;
        let outcome =
            self.tree.build(part)?.run(part, piece.asked, piece.first_seed, &self.log(row, part))?;
        println!("{}", outcome.failure.as_deref().unwrap_or("it passed"));
        println!("{}", self.log(row, part).display());
        Ok(outcome.failure.is_none())
    }

    pub(crate) fn log(&self, row: &Row, part: &Part) -> PathBuf {
        self.tree.target.join(format!("torture/{:02}-{}.log", row.number, part.name.replace(' ', "-")))
    }
}

fn bar(part: &Part, counted: u64, failures: usize) -> String {
    const WIDTH: u64 = 20;
    let full = (u128::from(counted) * u128::from(WIDTH) / u128::from(part.target.max(1))).min(WIDTH.into());
    let full = "#".repeat(full as usize);
    let failed = if failures > 0 { format!(", {failures} failed") } else { String::new() };
    format!("[{full:<20}] {}: {counted} of {} {}{failed}", part.name, part.target, part.unit)
}
