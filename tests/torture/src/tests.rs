//! That the rows are about what is there, and that the page says what the data says.

use std::fs;
use std::path::{Path, PathBuf};

use crate::mutants::mutated;
use crate::record::{Data, Piece, Reached};
use crate::{Arguments, Mode, PAGE, REPOSITORY, arguments, page, rows_and_data};

fn piece(part: &str, first_seed: u64, counted: u64, failure: Option<&str>) -> Piece {
    Piece {
        part: part.to_owned(),
        date: "2026-01-01".to_owned(),
        commit: "1234567".to_owned(),
        first_seed,
        seeds: 10,
        asked: 10,
        counted,
        seconds: 1.0,
        failure: failure.map(str::to_owned),
    }
}

#[test]
fn each_row_has_a_number_of_its_own_and_parts_that_can_be_told_apart() {
    let (rows, _) = rows_and_data().unwrap();
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.number as usize, index + 1, "{}", row.title);
        for (index, part) in row.parts.iter().enumerate() {
            assert!(part.piece > 0 && part.target > 0, "{}", part.name);
            assert!(row.parts[..index].iter().all(|other| other.name != part.name), "{}", part.name);
        }
    }
}

/// Where a test has been renamed its row would pass for nothing.
#[test]
fn each_test_that_a_row_names_is_there() {
    let (rows, _) = rows_and_data().unwrap();
    for part in rows.iter().flat_map(|row| &row.parts) {
        let text = fs::read_to_string(Path::new(REPOSITORY).join(&part.source)).expect(&part.source);
        let name = part.last_name();
        let is_there = text.contains(&format!("fn {name}(")) || part.source.contains(name);
        assert!(is_there, "{} has no {name}", part.source);
    }
}

#[test]
fn each_variable_that_a_row_sets_is_read() {
    let (rows, _) = rows_and_data().unwrap();
    for part in rows.iter().flat_map(|row| &row.parts) {
        let Some(count) = &part.count else { continue };
        let folder = Path::new(REPOSITORY).join(&part.source);
        let is_read = |path: PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(count));
        let mut near =
            folder.ancestors().skip(1).take(3).flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        let found = near.any(|file| file.is_ok_and(|file| is_read(file.path())));
        assert!(found, "nobody reads {count} of {}", part.name);
    }
}

#[test]
fn each_mutant_still_finds_what_it_replaces() {
    let (rows, _) = rows_and_data().unwrap();
    for mutant in rows.iter().flat_map(|row| &row.mutants) {
        let text = fs::read_to_string(Path::new(REPOSITORY).join(&mutant.file)).expect(&mutant.file);
        let mutated = mutated(&text, mutant).unwrap_or_else(|error| panic!("{}: {error}", mutant.file));
        assert_ne!(mutated, text, "{}", mutant.what);
    }
}

#[test]
fn the_page_says_what_the_data_says() {
    let (rows, data) = rows_and_data().unwrap();
    let written = fs::read_to_string(Path::new(REPOSITORY).join(PAGE)).expect(PAGE);
    assert!(page::page(&rows, &data).unwrap() == written, "run scripts/torture --page");
}

#[test]
fn only_what_passed_counts_and_no_seed_is_used_twice() {
    let pieces = [piece("a", 1, 10, None), piece("a", 11, 7, Some("lost")), piece("b", 1, 99, None)];
    let reached = Reached::of("a", &pieces);
    assert_eq!(reached, Reached { counted: 10, next_seed: 21, failures: 1, is_broken: true });
    assert_eq!(Reached::of("c", &pieces), Reached { next_seed: 1, ..Reached::default() });
}

#[test]
fn what_is_appended_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, _) = rows_and_data().unwrap();
    let data = Data::at(folder.path());
    let pieces = [piece("a", 1, 10, None), piece("a", 11, 0, Some("key 3 is lost"))];
    pieces.iter().for_each(|piece| data.add_piece(&rows[0], piece).unwrap());
    assert_eq!(data.pieces(&rows[0]).unwrap(), pieces);
    assert_eq!(data.pieces(&rows[1]).unwrap(), []);
}

#[test]
fn bad_arguments_are_refused() {
    let of = |words: &[&str]| arguments(words.iter().map(|word| (*word).to_owned()));
    let good = Arguments { mode: Mode::Run, rows: vec![2, 3], minutes: Some(10) };
    assert_eq!(of(&["--minutes", "10", "2", "3"]), Ok(good));
    assert_eq!(of(&["--minutes"]), Err("--minutes takes a number".to_owned()));
    assert_eq!(of(&["--fast"]), Err("\"--fast\" is neither an option nor a number".to_owned()));
    assert!(of(&["--again", "data/02.jsonl", "one"]).is_err());
}
