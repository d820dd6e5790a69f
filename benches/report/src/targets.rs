//! Whether what was measured is what was aimed at.

use crate::numbers::{case_name, number};
use crate::recording::Recording;

/// How many of the cases that miss a target are named.
const NAMED: usize = 4;

pub(crate) struct Target {
    pub(crate) says: &'static str,
    /// Words that must all be in a case's name, or with `=` before them a part of it; without any it is about
    /// every case.
    pub(crate) cases: &'static [&'static str],
    pub(crate) limit: Limit,
}

/// Peers by name; `peer` is whom the target is about.
pub(crate) enum Limit {
    /// The ratio of the two.
    Within { peer: &'static str, of: &'static str, ratio: f64 },
    /// The ratio of each of them to another.
    EachWithin { peers: &'static [&'static str], of: &'static str, ratio: f64 },
    /// The ratio of the two, from below: for what should be high.
    AtLeast { peer: &'static str, of: &'static str, ratio: f64 },
    /// A ratio below one to each of them.
    Ahead { peer: &'static str, of: &'static [&'static str] },
    /// The median, in the topic's unit.
    AtMost { peer: &'static str, value: f64 },
    /// The median, beside another's: at most so many times that, and so much more.
    Near { peer: &'static str, of: &'static str, times: f64, plus: f64 },
    /// Where the last part of a case is a size: from the size at which `peer` is cheapest to each larger one
    /// it grows at most so many times as much as another does, which has only cache misses to grow by.
    Grows { peer: &'static str, like: &'static str, ratio: f64 },
}

struct Finding {
    met: bool,
    what: String,
    /// How far from the limit: larger is worse.
    strain: f64,
}

/// A sentence for a list. Nothing is met that was not measured.
pub(crate) fn verdict(target: &Target, recording: &Recording) -> String {
    let mut findings: Vec<Finding> = recording
        .cases()
        .into_iter()
        .filter(|case| target.cases.iter().all(|words| is_about(words, case)))
        .flat_map(|case| judge(&target.limit, recording, case))
        .collect();
    findings.sort_by(|one, other| other.strain.total_cmp(&one.strain));
    let says = target.says;
    let missed: Vec<&Finding> = findings.iter().filter(|finding| !finding.met).collect();
    match (findings.first(), missed.len()) {
        (None, _) => format!("not measured: {says}"),
        (Some(worst), 0) => format!("**met**: {says} (the nearest to it: {})", worst.what),
        (_, count) => {
            let named: Vec<_> = missed.iter().take(NAMED).map(|finding| finding.what.as_str()).collect();
            let more = if count > NAMED { format!("; and {} more", count - NAMED) } else { String::new() };
            let (named, all) = (named.join("; "), findings.len());
            format!("**missed** in {count} of {all}: {says} ({named}{more})")
        }
    }
}

fn is_about(words: &str, case: &[String]) -> bool {
    match words.strip_prefix('=') {
        Some(part) => case.iter().any(|one| one == part),
        None => case.join(", ").contains(words),
    }
}

fn judge(limit: &Limit, recording: &Recording, case: &[String]) -> Vec<Finding> {
    let name = case_name(case);
    let finding = |met, strain, what: String| Finding { met, strain, what: format!("{name}: {what}") };
    match *limit {
        Limit::Within { peer, of, ratio } => {
            let found = recording.ratio(case, peer, of).into_iter();
            found.map(|is| finding(is <= ratio, is, format!("{is:.2} ×"))).collect()
        }
        Limit::EachWithin { peers, of, ratio } => {
            let found = peers.iter().filter_map(|peer| Some((peer, recording.ratio(case, peer, of)?)));
            found.map(|(peer, is)| finding(is <= ratio, is, format!("{is:.2} × with {peer}"))).collect()
        }
        Limit::AtLeast { peer, of, ratio } => {
            let found = recording.ratio(case, peer, of).into_iter();
            found.map(|is| finding(is >= ratio, -is, format!("{is:.3} ×"))).collect()
        }
        Limit::Ahead { peer, of } => {
            let found = of.iter().filter_map(|of| Some((of, recording.ratio(case, peer, of)?)));
            found.map(|(of, is)| finding(is < 1.0, is, format!("{is:.2} × {of}"))).collect()
        }
        Limit::AtMost { peer, value } => {
            let found = recording.median(case, peer).into_iter();
            found.map(|is| finding(is <= value, is, number(is))).collect()
        }
        Limit::Near { peer, of, times, plus } => {
            let found = recording.median(case, peer).zip(recording.median(case, of)).into_iter();
            let found = found.map(|(is, base)| (is, base, times * base + plus));
            found
                .map(|(is, base, most)| {
                    finding(is <= most, is - most, format!("{} beside {}", number(is), number(base)))
                })
                .collect()
        }
        Limit::Grows { peer, like, ratio } => {
            let found = growth(recording, case, peer, like).into_iter();
            found.map(|is| finding(is <= ratio, is, format!("{is:.2} × the growth of {like}"))).collect()
        }
    }
}

/// How much `peer` has grown until this case, by how much `like` has.
fn growth(recording: &Recording, case: &[String], peer: &str, like: &str) -> Option<f64> {
    let (own_size, measure) = size(case)?;
    let same = |other: &&[String]| size(other).is_some_and(|(size, of)| of == measure && size <= own_size);
    let smaller = recording.cases().into_iter().filter(same);
    let of = |case: &[String]| recording.median(case, peer).zip(recording.median(case, like));
    let (peer_then, like_then) = smaller.filter_map(of).min_by(|one, other| one.0.total_cmp(&other.0))?;
    let (peer_now, like_now) = of(case)?;
    let growth = (peer_now / peer_then) / (like_now / like_then);
    growth.is_finite().then_some(growth)
}

/// The number that a case ends with, and what stands before it.
pub(crate) fn size(case: &[String]) -> Option<(f64, &[String])> {
    let (last, before) = case.split_last()?;
    Some((last.parse().ok()?, before))
}
