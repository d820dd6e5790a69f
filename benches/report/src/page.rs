//! `BENCHMARKS.md`.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::http::Profile;
use crate::layout::Layout;
use crate::numbers::{date, number, part};
use crate::recording::{Environment, Recording};
use crate::statistics::quartiles;
use crate::targets::verdict;
use crate::topics::Topic;

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo run -p report` from the raw data in [benches/data](benches/data), all of it: text,
tables, charts, and which targets are met. Contestants take turns in one process, because a machine does not
keep its speed: a cell is the median of the turns, in parentheses the quartiles, and then the ratio to the
base, which is the median of the turns' ratios and not the ratio of the medians.
";

const AGAIN: &str = "\
## How to run it again

```sh
scripts/bench                     # everything, and this page
scripts/bench insert lists http   # these topics, and this page
TURNS=5 scripts/bench             # fewer turns (15)
```

Nothing else should run on the machine meanwhile. What a benchmark does is in
[benches/suite](benches/suite), and what it aims at in
[benches/report/src/topics.rs](benches/report/src/topics.rs).
";

/// A topic's part of the page, besides what was measured.
pub(crate) struct Section<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) topic: &'a Topic,
    /// Where its chart is, as seen from the page.
    pub(crate) chart: String,
    /// What somebody has to say about it.
    pub(crate) note: Option<String>,
}

pub(crate) fn page(sections: &[Section<'_>], profile: Option<&Profile>) -> String {
    let mut page = INTRODUCTION.to_owned();
    page += &environments(sections);
    page += AGAIN;
    for section in sections {
        page += &of_topic(section);
        if let Some(profile) = profile.filter(|_| section.topic.name == "http") {
            page += &of_profile(profile);
        }
    }
    page + "\n" + include_str!("../when_not.md")
}

/// Topics that were measured in the same circumstances share a paragraph.
fn environments(sections: &[Section<'_>]) -> String {
    let mut groups: Vec<(&Environment, Vec<&Section<'_>>)> = Vec::new();
    for section in sections {
        let Some(environment) = &section.recording.environment else { continue };
        match groups.iter_mut().find(|group| is_like(group.0, environment)) {
            Some(group) => group.1.push(section),
            None => groups.push((environment, vec![section])),
        }
    }
    let mut text = String::from("\n## What it was run on\n\n");
    let several = groups.len() > 1;
    for (environment, members) in groups {
        if several {
            let names: Vec<_> = members.iter().map(|section| section.recording.topic.as_str()).collect();
            let _ = writeln!(text, "For {}:\n", names.join(", "));
        }
        text += &of_environment(environment, &members);
    }
    text
}

/// But for when.
fn is_like(one: &Environment, other: &Environment) -> bool {
    let other = Environment { unix_time: one.unix_time, commit: one.commit.clone(), ..other.clone() };
    *one == other
}

fn of_environment(environment: &Environment, members: &[&Section<'_>]) -> String {
    let all = || members.iter().filter_map(|section| section.recording.environment.as_ref());
    let dates: BTreeSet<String> = all().map(|environment| date(environment.unix_time)).collect();
    let commits: BTreeSet<&str> = all().map(|environment| environment.commit.as_str()).collect();
    let packages = environment.packages.iter().filter(|package| !package.1.is_empty());
    let packages: Vec<_> = packages.map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "- When: {} (commit {})\n- Processor: {}, {} cores; {} MiB of memory\n- Kernel: {}\n- Compiler: {}\n\
         - Packages: {}\n\n",
        dates.into_iter().collect::<Vec<_>>().join(", "),
        commits.into_iter().collect::<Vec<_>>().join(", "),
        environment.processor,
        environment.cores,
        environment.memory_mib,
        environment.kernel,
        environment.rustc,
        packages.join(", "),
    )
}

fn of_topic(section: &Section<'_>) -> String {
    let Section { recording, topic, chart, note } = section;
    let mut text = format!("\n## {}\n\n", topic.title);
    if !topic.about.is_empty() {
        let _ = writeln!(text, "{}\n", topic.about);
    }
    for target in topic.targets {
        let _ = writeln!(text, "- Target {}", verdict(target, recording));
    }
    let has_base = recording.peers().contains(&recording.base.as_str());
    let ratio = if has_base { format!(", and ratio to {}", recording.base) } else { String::new() };
    let _ = writeln!(text, "\nUnit: {}. Median (quartiles){ratio}.\n", recording.unit);
    text += &table(recording);
    if let Some(note) = note {
        let _ = writeln!(text, "\n{}", note.trim());
    }
    let _ = writeln!(text, "\n![{}]({chart})", topic.title);
    // Where there are no targets there would be a blank line too many.
    text.replace("\n\n\n", "\n\n")
}

fn table(recording: &Recording) -> String {
    let layout = Layout::of(recording);
    let heads: Vec<String> = layout.series.iter().map(|series| part(series)).collect();
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in &layout.rows {
        let cells: Vec<String> = (0..layout.series.len())
            .map(|series| {
                let (case, peer) = layout.cell(row, series);
                cell(recording, &case, peer)
            })
            .collect();
        let _ = writeln!(text, "| {} | {} |", row.full_name(), cells.join(" | "));
    }
    text
}

fn cell(recording: &Recording, case: &[String], peer: &str) -> String {
    let Some(samples) = recording.samples(case, peer) else { return String::new() };
    let [low, median, high] = quartiles(samples).map(number);
    let spread = if samples.len() > 1 { format!(" ({low} – {high})") } else { String::new() };
    let base = recording.base.as_str();
    let ratio = recording.ratio(case, peer, base).filter(|_| peer != base);
    let ratio = ratio.map(|ratio| if ratio < 9.995 { format!("{ratio:.2}") } else { number(ratio) });
    let ratio = ratio.map_or_else(String::new, |ratio| format!(", {ratio} ×"));
    format!("{median}{spread}{ratio}")
}

fn of_profile(profile: &Profile) -> String {
    let mut text = format!(
        "\nWhere the buffered service spends its processor time under that load: {} samples of {}, each \
         counted for the innermost function whose crate is known, inlined ones included.\n\n| | % |\n|---|---|\n",
        number(profile.samples as f64),
        date(profile.unix_time),
    );
    for share in &profile.shares {
        let _ = writeln!(text, "| {} | {:.1} |", share.part, share.percent);
    }
    text
}
