//! What reads of a key return.

use crate::batch::BatchId;
use crate::engine::shard::Moved;

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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Peek<V> {
    /// What is in the table, oldest first. More than one only where an aggregate could absorb no
    /// more (a sum that would overflow).
    pub pending: Vec<V>,
    /// What has been handed to the sink and is not yet acknowledged, and the batch it is in. Data
    /// that `handle_error` is working on is its own and not to be seen here.
    pub in_flight: Option<(V, BatchId)>,
    /// How much data of the key's partition has moved on so far.
    pub(crate) moved: Moved,
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

    /// Whether none of this data has moved on between this look and a later one, so that a read of the storage in
    /// between and this go together: **how to read exactly while data is being flushed**. More data that has come
    /// meanwhile does no harm.
    ///
    /// Buffer and storage cannot be read at one instant, and data moves from one to the other. So look; read the
    /// row and, in the same statement, whether the batch in flight is part of it; look again, and begin anew if this
    /// is false. It is false too for what other keys of the same partition do, but seldom twice in a row.
    ///
    /// ```
    /// use write_behind::{BatchId, Buffer, Sum, SummingBuffer};
    ///
    /// /// Gives a row's value and whether this batch is in it.
    /// # fn read(_: &str, _: Option<BatchId>) -> (i64, bool) { (40, false) }
    /// # const _: &str = "
    /// fn read(page: &str, batch: Option<BatchId>) -> (i64, bool) { … }
    /// # ";
    ///
    /// fn total(views: &SummingBuffer<String, i64>, page: &str) -> i64 {
    ///     loop {
    ///         let held = views.peek(page);
    ///         let (stored, has_batch) = read(page, held.in_flight.map(|(_, batch)| batch));
    ///         if held.stayed_until(&views.peek(page)) {
    ///             let in_flight = held.in_flight.filter(|_| !has_batch).map(|(views, _)| views);
    ///             return stored + held.pending.iter().chain(&in_flight).map(|views| views.0).sum::<i64>();
    ///         }
    ///     }
    /// }
    ///
    /// let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Ok::<(), String>(()))?;
    /// views.add("/home", 2)?;
    /// assert_eq!(total(&views, "/home"), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stayed_until(&self, later: &Self) -> bool {
        let batch = |peek: &Self| peek.in_flight.as_ref().map(|(_, batch)| *batch);
        // A key is in one batch at a time. If that is there in both looks no other was in between; if there is none
        // in either, what was in one between them has left the table, or has been settled.
        batch(self) == batch(later) && (batch(self).is_some() || self.moved == later.moved)
    }
}

/// Of the data.
impl<V: PartialEq> PartialEq for Peek<V> {
    fn eq(&self, other: &Self) -> bool {
        self.pending == other.pending && self.in_flight == other.in_flight
    }
}
