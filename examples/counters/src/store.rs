//! What the service asks of a database, in words that fit all of them alike.
//!
//! Beside `counters` there are three small tables, the *ledger*, and they are what makes every
//! increment count exactly once:
//!
//! - `counter_writers`: one row per process, with the number below which all its batches are
//!   settled. A batch counts only while its writer is in here and its number is not below that, so a
//!   copy of an old batch that was delayed in the network can never be applied, however late it
//!   arrives, although the record of the batch itself is long pruned.
//! - `counter_batches`: the batches that were applied, or declared void, and are not yet pruned.
//!   Written in the same statement as the counters.
//! - `counter_letters`: the dead letters that were replayed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

/// The process that writes, as the ledger knows it: random, new at every start.
pub(crate) type Writer = i64;

/// The ledger's name for a batch. The same on every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LedgerId {
    pub(crate) writer: Writer,
    pub(crate) sequence: i64,
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.writer, self.sequence)
    }
}

impl FromStr for LedgerId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(writer, sequence)| {
            Some(LedgerId { writer: writer.parse().ok()?, sequence: sequence.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is no batch id"))
    }
}

/// What the ledger says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the counters, once.
    Applied,
    /// It is not, and never will be: its id has been taken out of use.
    Void,
}

/// A dead letter as the database sees it.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    /// Unique to this letter.
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) value: i64,
    /// The batch that may or may not have been applied; `None` if it is known that none was.
    pub(crate) batch: Option<LedgerId>,
}

/// What became of a replayed dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// It was added now.
    Added,
    /// An earlier replay, or its own batch, had added it.
    WasThere,
    /// The ledger no longer knows whether its batch was applied.
    CannotTell,
}

/// A counter and the fate of a batch, read at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Wider than a total, as not all parts of it need be in one place.
    pub(crate) value: Option<i128>,
    pub(crate) applied: bool,
}

/// Sorted by key, no key twice.
#[derive(Debug, Default)]
pub(crate) struct Deltas<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) values: Vec<i64>,
}

/// Why a database did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Rolled back, and some key of the batch is to blame: it would fail again.
    #[error("{0}")]
    Data(String),
    /// Rolled back because others were in the way: it may well succeed when tried again.
    #[error("{0}")]
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "the others have one writer at a time"))]
    Contended(String),
    /// Not reached, or lost on the way: it may have been done or not. Also all that no key is to
    /// blame for, such as a full disk.
    #[error("{0}")]
    Unavailable(String),
}

/// An error and its causes in one line: a client's own text often leaves the cause out.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn describe(what: &str, error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut line = what.to_owned();
    for cause in causes.map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// A database with counters and their ledger.
///
/// Whoever waits for one of these may give up: the future is dropped. What it was to do may then be
/// done, not done, or still under way, and all but `read_then_write` may be called again.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// Makes a writer known. Batches of unknown writers are not applied. Also forgets what was
    /// recorded of writers and letters that have shown no sign of life for 90 days.
    async fn register(&self, writer: Writer) -> Result<(), StoreError>;

    /// Applies a batch, unless the ledger says that it has been settled already.
    async fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError>;

    /// Takes the id out of use if it has not been applied. From then on copies of the batch that
    /// are still under way do nothing.
    async fn void(&self, batch: LedgerId) -> Result<Fate, StoreError>;

    /// Forgets the records of a writer's batches below `settled_below`, and refuses them for ever.
    async fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError>;

    /// Forgets a writer of which nothing is left to do.
    async fn retire(&self, writer: Writer) -> Result<(), StoreError>;

    /// Reads a counter and whether `batch` is part of what it says, at one instant.
    async fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError>;

    /// Reads all counters. What a process wrote that has been killed since is part of it; waits for that
    /// where the database may still be at it.
    async fn load(&self) -> Result<Vec<(String, i64)>, StoreError> {
        Err(StoreError::Unavailable("only --sink upsert can load its counters".to_owned()))
    }

    /// Reads a counter, adds in here, and writes it: what a service without a buffer does.
    async fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError>;

    /// One step of what is to be done in the background: what `apply` has put down elsewhere is moved
    /// to the totals. Returns how long to wait until the next step. Provided: `None`, as there is
    /// nothing to do, ever.
    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }

    /// Applies dead letters, all or none, in one transaction.
    async fn replay(&self, letters: Vec<Replay>) -> Result<Vec<Replayed>, StoreError>;
}

/// Adds without ever wrapping.
pub(crate) fn checked_total(key: &str, before: i64, value: i64) -> Result<i64, StoreError> {
    before.checked_add(value).ok_or_else(|| overflow(key))
}

pub(crate) fn overflow(key: &str) -> StoreError {
    StoreError::Data(format!("the total of {key:?} would no longer fit into 64 bits"))
}
