//! Increments that can be told apart in a sum.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many keys are added to at a time.
const OPEN: u64 = 16;
/// How many increments a key gets: digits to the base of four, of which the highest still fits into a total.
const DIGITS: u64 = 30;

/// An increment that is made once. Its number says of which key it is and which digit it adds one to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) fn key(self) -> String {
        format!("key {}", self.0 / (OPEN * DIGITS) * OPEN + self.0 % OPEN)
    }

    fn digit(self) -> u32 {
        (self.0 / OPEN % DIGITS) as u32
    }

    pub(crate) fn value(self) -> i64 {
        4_i64.pow(self.digit())
    }

    /// How often it is part of what was stored. What is there four times shows as another one of the key's.
    fn count(self, totals: &BTreeMap<String, i64>) -> i64 {
        totals.get(&self.key()).map_or(0, |total| total / self.value() % 4)
    }
}

/// Gives out marks, each once.
#[derive(Default)]
pub(crate) struct Marks(AtomicU64);

impl Marks {
    pub(crate) fn next(&self) -> Mark {
        Mark(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn all(&self) -> impl Iterator<Item = Mark> {
        (0..self.0.load(Ordering::Relaxed)).map(Mark)
    }
}

/// What clients know of what they have sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// What was acknowledged, and how long before the service was killed.
    pub(crate) acknowledged: Vec<(Mark, Duration)>,
    /// What got no answer.
    pub(crate) in_doubt: Vec<Mark>,
    /// The key that everybody adds one to.
    pub(crate) hot_acknowledged: i64,
    pub(crate) hot_in_doubt: i64,
    /// Other answers than 202.
    pub(crate) refused: Vec<String>,
}

impl Sent {
    pub(crate) fn add(&mut self, other: Sent) {
        self.acknowledged.extend(other.acknowledged);
        self.in_doubt.extend(other.in_doubt);
        self.hot_acknowledged += other.hot_acknowledged;
        self.hot_in_doubt += other.hot_in_doubt;
        self.refused.extend(other.refused);
    }
}

/// What became of all of it.
pub(crate) struct Account {
    requests: usize,
    acknowledged: usize,
    in_doubt: usize,
    /// Those in doubt that are stored.
    counted: usize,
    /// What was acknowledged and is not stored, and how long before the service was killed.
    pub(crate) lost: Vec<(Mark, Duration)>,
    /// What is stored more than once.
    pub(crate) doubled: Vec<Mark>,
    /// How many more of the hot key's increments are stored than were acknowledged, and how many there can be.
    pub(crate) hot: (i64, i64),
}

impl Account {
    pub(crate) fn new(marks: &Marks, sent: &Sent, totals: &BTreeMap<String, i64>) -> Self {
        assert_eq!(marks.all().count(), sent.acknowledged.len() + sent.in_doubt.len(), "each has an answer");
        let lost = sent.acknowledged.iter().filter(|(mark, _)| mark.count(totals) == 0).copied();
        let hot = totals.get(HOT).copied().unwrap_or(0);
        let hot_sent = sent.hot_acknowledged + sent.hot_in_doubt;
        Account {
            requests: marks.all().count() + hot_sent as usize,
            acknowledged: sent.acknowledged.len() + sent.hot_acknowledged as usize,
            in_doubt: sent.in_doubt.len() + sent.hot_in_doubt as usize,
            counted: sent.in_doubt.iter().filter(|mark| mark.count(totals) > 0).count(),
            lost: lost.collect(),
            doubled: marks.all().filter(|mark| mark.count(totals) > 1).collect(),
            hot: (hot - sent.hot_acknowledged, sent.hot_in_doubt),
        }
    }

    /// Whether everything that was acknowledged is stored, and nothing more than once.
    pub(crate) fn is_exact(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && (0..=self.hot.1).contains(&self.hot.0)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { requests, acknowledged, in_doubt, counted, lost, doubled, hot } = self;
        let counted = *counted as i64 + hot.0.max(0);
        write!(
            f,
            "{requests} requests, {acknowledged} acknowledged, {in_doubt} in doubt, {counted} of those counted, \
             {} lost, {} doubled; the hot key has {} of {} in doubt",
            lost.len(),
            doubled.len(),
            hot.0,
            hot.1
        )
    }
}

/// The key that everybody adds one to.
pub(crate) const HOT: &str = "hot";
