//! `RELIABILITY.md`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

use crate::record::{Data, Piece, Reached, Trial};
use crate::row::{Part, Row, Seeds};

const INTRODUCTION: &str = "\
# Reliability

What was tried, how often, and what came of it. Written by `scripts/torture` from the rows in
[tests/torture/rows](tests/torture/rows) and the raw data in [tests/torture/data](tests/torture/data), all of it: nobody
edits this page.

- A count is the sum of the pieces that passed. A piece that failed is never taken out of the data: it is counted apart,
  and the row says what was found and what became of it.
- *Seeds* are what random choices follow from. Where threads, processes or clocks take part, a seed repeats the choices
  and not the instants.
- Deliberate faults are put into the source one by one, and the test that guards the promise has to fail. So what passes
  here can fail.
- `open` is a row whose count is not reached, whatever the reason.
";

const AGAIN: &str = "\
## How to run it again

```sh
scripts/torture                    # goes on until everything is reached: many hours
scripts/torture --minutes 10 2 3   # some minutes of rows 2 and 3
scripts/torture --mutants 2        # the deliberate faults of row 2
scripts/torture --again tests/torture/data/02.jsonl 1    # what the first line of it says, with its seed
```

To begin anew, empty `tests/torture/data`. Rows that mount a file system take root; where a server is missing a piece fails.
";

pub(crate) fn page(rows: &[Row], data: &Data) -> io::Result<String> {
    let mut sections = String::new();
    let mut overview =
        String::from("\n## Overview\n\n| # | what | tried | of | failed pieces | faults found by it | |\n");
    overview += "|---|---|---|---|---|---|---|\n";
    for row in rows {
        let (pieces, trials) = (data.pieces(row)?, latest(data.trials(row)?));
        for part in &row.parts {
            let _ = writeln!(overview, "{}", in_overview(row, part, &pieces, &trials));
        }
        if row.parts.is_empty() {
            let _ = writeln!(overview, "| {} | {} | – | – | – | – | open |", row.number, row.title);
        }
        sections += &section(row, &pieces, &trials);
    }
    Ok(format!("{INTRODUCTION}{overview}\n{AGAIN}{sections}"))
}

/// The last trial of each mutant, in the order of their first ones.
fn latest(trials: Vec<Trial>) -> Vec<Trial> {
    let mut latest: Vec<Trial> = Vec::new();
    for trial in trials {
        match latest.iter_mut().find(|other| other.mutant == trial.mutant) {
            Some(other) => *other = trial,
            None => latest.push(trial),
        }
    }
    latest
}

fn in_overview(row: &Row, part: &Part, pieces: &[Piece], trials: &[Trial]) -> String {
    let reached = Reached::of(&part.name, pieces);
    let of_part: Vec<_> = row.mutants.iter().filter(|mutant| mutant.part == part.name).collect();
    let is_killed = |what: &str| trials.iter().any(|trial| trial.mutant == what && trial.killed);
    let killed = of_part.iter().filter(|mutant| is_killed(&mutant.what)).count();
    let faults = if of_part.is_empty() { "–".to_owned() } else { format!("{killed} of {}", of_part.len()) };
    let is_open = reached.counted < part.target || reached.is_broken;
    format!(
        "| {} | {}: {} | {} | {} {} | {} | {faults} | {} |",
        row.number,
        row.title,
        part.name,
        grouped(reached.counted),
        grouped(part.target),
        part.unit,
        reached.failures,
        if is_open { "open" } else { "reached" },
    )
}

fn section(row: &Row, pieces: &[Piece], trials: &[Trial]) -> String {
    let mut text = format!("\n## {}. {}\n\n{}\n", row.number, row.title, row.promise.trim());
    if !row.parts.is_empty() {
        text += "\n| test | counted | dates | commits | seeds | time |\n|---|---|---|---|---|---|\n";
    }
    for part in &row.parts {
        text += &of_part(part, pieces);
    }
    for piece in pieces.iter().filter(|piece| piece.failure.is_some()) {
        let Piece { part, date, commit, first_seed, asked, .. } = piece;
        let failure = piece.failure.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "\nFailed: {part}, {date}, {commit}, seed {first_seed}, {asked} asked: `{failure}`"
        );
    }
    if let Some(found) = &row.found {
        let _ = writeln!(text, "\n**Found.** {}", found.trim());
    }
    if let Some(missing) = &row.missing {
        let _ = writeln!(text, "\n**Not tried.** {}", missing.trim());
    }
    text + &of_mutants(row, trials)
}

fn of_part(part: &Part, pieces: &[Piece]) -> String {
    let passed = || pieces.iter().filter(|piece| piece.part == part.name && piece.failure.is_none());
    let dates: BTreeSet<&str> = passed().map(|piece| piece.date.as_str()).collect();
    let mut commits: Vec<&str> = passed().map(|piece| piece.commit.as_str()).collect();
    commits.dedup();
    let seconds: f64 = passed().map(|piece| piece.seconds).sum();
    let none = || "–".to_owned();
    let seeds =
        match (passed().map(|piece| piece.first_seed).min(), Reached::of(&part.name, pieces).next_seed) {
            (Some(first), next) if part.seeds != Seeds::None => {
                format!("{} to {}", grouped(first), grouped(next - 1))
            }
            _ => none(),
        };
    let list = |texts: Vec<&str>| if texts.is_empty() { none() } else { texts.join(", ") };
    format!(
        "| [{}]({}): `{}` | {} {} | {} | {} | {seeds} | {} |\n",
        part.name,
        part.source,
        part.last_name(),
        grouped(Reached::of(&part.name, pieces).counted),
        part.unit,
        list(dates.into_iter().collect()),
        list(commits),
        duration(seconds),
    )
}

fn of_mutants(row: &Row, trials: &[Trial]) -> String {
    if row.mutants.is_empty() {
        return String::new();
    }
    let mut text =
        String::from("\n| deliberate fault | in | found | what the test said |\n|---|---|---|---|\n");
    for mutant in &row.mutants {
        let trial = trials.iter().find(|trial| trial.mutant == mutant.what);
        let (killed, said) = match trial {
            Some(Trial { killed: true, said, date, commit, .. }) => {
                (format!("{date}, {commit}"), said.as_str())
            }
            Some(Trial { said, .. }) => ("**no**".to_owned(), said.as_str()),
            None => ("not tried".to_owned(), ""),
        };
        let said = said.replace('|', "\\|").replace('`', "'");
        let said = if said.is_empty() { said } else { format!("`{said}`") };
        let _ = writeln!(text, "| {} | {} | {killed} | {said} |", mutant.what, mutant.file);
    }
    text
}

/// A thousand is 1 000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "–".to_owned(),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let all = [0, 7, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "7", "999", "1\u{a0}000", "1\u{a0}234\u{a0}567"]);
    }

    #[test]
    fn the_last_trial_of_a_mutant_counts() {
        let trial = |mutant: &str, killed| Trial {
            mutant: mutant.to_owned(),
            date: String::new(),
            commit: String::new(),
            killed,
            said: String::new(),
            seconds: 0.0,
        };
        let all = latest(vec![trial("a", false), trial("b", true), trial("a", true)]);
        assert_eq!(all, [trial("a", true), trial("b", true)]);
    }
}
