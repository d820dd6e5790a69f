use std::fmt;
use std::str::FromStr;

/// What became of a batch, as the ledger has it.
///
/// The first three are what a ledger records. They can be written as text, by `to_string`, and read again by
/// `parse`: enough for one column of a ledger.
///
/// ```
/// use write_behind::exactly_once::{Fate, Rejection};
///
/// let fate = Fate::AppliedExcept(vec![Rejection::new(3, "too long")]);
/// assert_eq!(fate.to_string(), "except\n3 too long");
/// assert_eq!(fate.to_string().parse(), Ok(fate));
/// assert_eq!("void".parse(), Ok(Fate::Void));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// All of it counts, by this attempt or by an earlier one.
    Applied,
    /// All of it counts but for these entries, which the store has refused for good. They are given up. Never
    /// empty, and the same on every attempt.
    AppliedExcept(Vec<Rejection>),
    /// Nothing of it counts, and never will: the id was taken out of use.
    Void,
    /// Nothing was done: the batch lies below what is settled. It is a copy of an attempt that nobody waits for
    /// any more.
    Settled,
    /// Nothing was done: the ledger does not know the batch's instance, or not yet its epoch.
    Unregistered,
    /// Nothing was done: a higher epoch has registered and taken over.
    Superseded {
        /// The highest epoch of the instance.
        by: u64,
    },
}

/// An entry that a store has refused for good.
///
/// ```
/// use write_behind::exactly_once::Rejection;
///
/// let rejection = Rejection::new(0, "a page has a name");
/// assert_eq!((rejection.place, rejection.reason.as_str()), (0, "a page has a name"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// Its place in [`FlushBatch::entries`](crate::FlushBatch::entries), from 0.
    pub place: usize,
    /// Why, for people: what `handle_error` is told as the cause.
    pub reason: String,
}

impl Rejection {
    /// Refuses the entry at this place of [`FlushBatch::entries`](crate::FlushBatch::entries). Line breaks in
    /// `reason` become spaces.
    pub fn new(place: usize, reason: impl Into<String>) -> Self {
        Rejection { place, reason: reason.into().replace(['\n', '\r'], " ") }
    }
}

const APPLIED: &str = "applied";
const EXCEPT: &str = "except";
const VOID: &str = "void";

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Applied => f.write_str(APPLIED),
            Fate::AppliedExcept(rejections) => {
                f.write_str(EXCEPT)?;
                rejections.iter().try_for_each(|Rejection { place, reason }| write!(f, "\n{place} {reason}"))
            }
            Fate::Void => f.write_str(VOID),
            Fate::Settled => f.write_str("settled"),
            Fate::Unregistered => f.write_str("unregistered"),
            Fate::Superseded { by } => write!(f, "superseded by {by}"),
        }
    }
}

impl FromStr for Fate {
    type Err = ParseFateError;

    /// Reads what a ledger has recorded.
    fn from_str(text: &str) -> Result<Self, ParseFateError> {
        match text {
            APPLIED => return Ok(Fate::Applied),
            VOID => return Ok(Fate::Void),
            _ => {}
        }
        let lines = text.strip_prefix(EXCEPT).and_then(|rest| rest.strip_prefix('\n'));
        let rejections = lines.and_then(|lines| {
            let parts = lines.split('\n').map(|line| line.split_once(' '));
            parts.map(|parts| Some(Rejection::new(parts?.0.parse().ok()?, parts?.1))).collect()
        });
        rejections.map(Fate::AppliedExcept).ok_or_else(|| ParseFateError { text: text.to_owned() })
    }
}

/// A text that no ledger has written.
///
/// ```
/// use write_behind::exactly_once::Fate;
///
/// assert_eq!("eaten".parse::<Fate>().unwrap_err().to_string(), "\"eaten\" is no fate of a batch");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no fate of a batch")]
#[non_exhaustive]
pub struct ParseFateError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again() {
        let reasons = Fate::AppliedExcept(vec![Rejection::new(0, ""), Rejection::new(17, "two\nlines, 1 5")]);
        for fate in [Fate::Applied, reasons, Fate::Void] {
            assert_eq!(fate.to_string().parse(), Ok(fate));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let made_up = ["except", "except\n", "except\nx y", "except\n1", "void "];
        for text in ["", "settled", "unregistered", "superseded by 2"].into_iter().chain(made_up) {
            assert!(text.parse::<Fate>().is_err(), "{text:?}");
        }
    }
}
