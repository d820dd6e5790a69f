//! What reads of a key return.

use crate::batch::BatchId;

/// How many inserts of a key the buffer holds.
///
/// ```
/// use write_behind::Buffer;
/// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
///
/// let events = Buffer::builder().start(store)?;
/// events.insert_ref("ada", 1)?;
/// events.insert_ref("ada", 2)?;
/// assert_eq!(events.count("ada").total(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KeyCount {
    /// In the table.
    pub pending: u64,
    /// Being flushed, waiting for a retry, or in the hands of `handle_error`.
    pub in_flight: u64,
}

impl KeyCount {
    /// Both together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.pending + self.in_flight
    }
}

/// A copy of a key's data, taken at one instant.
///
/// ```
/// use write_behind::Buffer;
/// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
///
/// let events = Buffer::builder().start(store)?;
/// events.insert_ref("ada", 1)?;
/// events.insert_ref("ada", 2)?;
/// let held = events.peek("ada");
/// assert_eq!(held.pending, [vec![1, 2]]);
/// assert_eq!(held.in_flight, None); // the sink has not been called yet
/// assert_eq!(held.iter().flatten().sum::<u64>(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Peek<V> {
    /// What is in the table, oldest first. More than one only where an aggregate could absorb no
    /// more (a sum that would overflow).
    pub pending: Vec<V>,
    /// What has been handed to the sink and is not yet acknowledged, and the batch it is in. Data
    /// that `handle_error` is working on is its own and not to be seen here.
    pub in_flight: Option<(V, BatchId)>,
}

impl<V> Peek<V> {
    /// All data, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.in_flight.iter().map(|(data, _)| data).chain(&self.pending)
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.pending.is_empty()
    }
}
