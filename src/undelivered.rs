//! What the buffer could not deliver, as `shutdown` hands it back.

use std::fmt;
use std::sync::Arc;

use crate::batch::{BatchId, Content, Entry};
use crate::driver::sync::unwrap_soon;
use crate::engine::shard::Abandoned;
use crate::failure::FailureCause;
use crate::key::Key;

/// All keys and data that a buffer could not deliver, **lost if this is dropped**: handed back by
/// [`Buffer::shutdown`](crate::Buffer::shutdown). Iterate over it by value to get them.
///
/// Whatever there is is handed back as it lies, so that shutting down takes no longer the more it is;
/// the work is done while you iterate.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum};
///
/// let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Err("the database is away"))?;
/// views.add("/home", 3)?;
/// views.add("/home", 4)?;
/// let error = views.shutdown(Duration::from_millis(20)).unwrap_err();
/// for left in error.into_undelivered() {
///     assert_eq!((left.key().as_str(), left.data().0, left.count()), ("/home", 7, 2));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "what is left over is lost when this is dropped"]
pub struct Leftovers<K, V> {
    tables: Vec<Abandoned<K, V>>,
    batches: Vec<LeftBatch<K, V>>,
    inserts: u64,
}

/// A batch that is left over.
#[derive(Debug)]
pub(crate) struct LeftBatch<K, V> {
    pub(crate) content: Arc<Content<K, V>>,
    pub(crate) state: UndeliveredState,
    pub(crate) may_be_applied: bool,
}

impl<K, V> Default for Leftovers<K, V> {
    fn default() -> Self {
        Leftovers { tables: Vec::new(), batches: Vec::new(), inserts: 0 }
    }
}

impl<K, V> fmt::Debug for Leftovers<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftovers").field("inserts", &self.inserts).finish_non_exhaustive()
    }
}

impl<K, V> Leftovers<K, V> {
    pub(crate) fn add_inserts(&mut self, inserts: u64) {
        self.inserts += inserts;
    }

    /// Adds a partition that holds so many inserts, those of its batches included.
    pub(crate) fn add_table(&mut self, table: Abandoned<K, V>, inserts: u64) {
        self.inserts += inserts;
        self.tables.push(table);
    }

    pub(crate) fn add_batch(&mut self, batch: LeftBatch<K, V>) {
        self.batches.push(batch);
    }

    /// How many inserts there are.
    #[must_use]
    pub fn inserts(&self) -> u64 {
        self.inserts
    }

    /// How many keys there are; one with data in flight and newer data counts for both. O(batches).
    #[must_use]
    pub fn len(&self) -> usize {
        let in_tables = self.tables.iter().map(Abandoned::len).sum::<usize>();
        in_tables + self.batches.iter().map(|batch| batch.content.entries.len()).sum::<usize>()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Key, V: 'static> IntoIterator for Leftovers<K, V> {
    type Item = Undelivered<K, V>;
    type IntoIter = LeftoversIter<K, V>;

    /// What was in flight comes first, so per key older data comes before newer.
    fn into_iter(self) -> LeftoversIter<K, V> {
        let in_batches = self.batches.into_iter().flat_map(LeftBatch::into_undelivered);
        let generations = self.tables.into_iter().flat_map(Abandoned::into_generations);
        let in_tables = generations.map(|(key, data, count)| Undelivered::pending(key, data, count));
        LeftoversIter(Box::new(in_batches.chain(in_tables)))
    }
}

/// Iterator over [`Leftovers`], which have an example. What it has not yielded is lost when it is dropped.
pub struct LeftoversIter<K, V>(Box<dyn Iterator<Item = Undelivered<K, V>>>);

impl<K, V> fmt::Debug for LeftoversIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeftoversIter")
    }
}

impl<K, V> Iterator for LeftoversIter<K, V> {
    type Item = Undelivered<K, V>;

    fn next(&mut self) -> Option<Undelivered<K, V>> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K, V> LeftBatch<K, V> {
    fn into_undelivered(self) -> Vec<Undelivered<K, V>> {
        let LeftBatch { content, state, may_be_applied } = self;
        let batch = Some(content.id);
        let undelivered =
            |held, place| Undelivered { held, batch, state: state.clone(), may_be_applied, place };
        if let UndeliveredState::InCallback = state {
            let places = 0..content.entries.len();
            return places
                .map(|index| undelivered(Held::Shared(Arc::clone(&content), index), index))
                .collect();
        }
        let entries = unwrap_soon(content).entries.into_iter().zip(0..);
        let own =
            |(Entry { key, data, count, .. }, place)| undelivered(Held::Own { key, data, count }, place);
        entries.map(own).collect()
    }
}

/// A key and data that the buffer could not deliver: one of [`Leftovers`].
///
/// ```
/// use write_behind::{Sum, Undelivered};
///
/// /// A line for whoever replays it, who looks first whether the batch is recorded.
/// fn line(left: &Undelivered<String, Sum<i64>>) -> String {
///     let doubt = left.batch().filter(|_| left.may_be_applied());
///     let doubt = doubt.map_or(String::new(), |batch| format!(" unless {batch} was applied"));
///     format!("{} {:+}{doubt}", left.key(), left.data().0)
/// }
/// # let views = write_behind::Buffer::builder().start(|_: &String, _: &Sum<i64>| Err("away")).unwrap();
/// # views.add("/home", 3).unwrap();
/// # let error = views.shutdown(std::time::Duration::from_millis(20)).unwrap_err();
/// # assert!(line(&error.into_undelivered().into_iter().next().unwrap()).starts_with("/home +3 unless "));
/// ```
#[derive(Debug)]
pub struct Undelivered<K, V> {
    held: Held<K, V>,
    batch: Option<BatchId>,
    state: UndeliveredState,
    may_be_applied: bool,
    /// In its batch.
    place: usize,
}

#[derive(Debug)]
enum Held<K, V> {
    Own { key: K, data: V, count: u64 },
    Shared(Arc<Content<K, V>>, usize),
}

/// How far undelivered data had got.
///
/// ```
/// use write_behind::UndeliveredState;
///
/// /// Whether some callback has seen it.
/// fn was_tried(state: &UndeliveredState) -> bool {
///     !matches!(state, UndeliveredState::Pending)
/// }
/// # assert!(!was_tried(&UndeliveredState::Pending) && was_tried(&UndeliveredState::InCallback));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum UndeliveredState {
    /// No attempt was made.
    Pending,
    /// It was waiting for its next attempt.
    Retrying {
        /// Attempts made.
        attempts: u32,
        /// How the last one failed.
        cause: FailureCause,
    },
    /// A callback was still working on it when the deadline came, or when its runtime ended. It may
    /// yet be applied, or have been; an async callback has been cancelled.
    InCallback,
    /// `handle_error` kept it or panicked on it.
    GivenUp {
        /// Attempts made.
        attempts: u32,
        /// How the last one failed.
        cause: FailureCause,
    },
}

impl<K, V> Undelivered<K, V> {
    fn pending(key: K, data: V, count: u64) -> Self {
        let held = Held::Own { key, data, count };
        Undelivered { held, batch: None, state: UndeliveredState::Pending, may_be_applied: false, place: 0 }
    }

    /// The key.
    pub fn key(&self) -> &K {
        match &self.held {
            Held::Own { key, .. } => key,
            Held::Shared(content, index) => &content.entries[*index].key,
        }
    }

    /// The data.
    pub fn data(&self) -> &V {
        match &self.held {
            Held::Own { data, .. } => data,
            Held::Shared(content, index) => &content.entries[*index].data,
        }
    }

    /// How many inserts the data holds.
    pub fn count(&self) -> u64 {
        match &self.held {
            Held::Own { count, .. } => *count,
            Held::Shared(content, index) => content.entries[*index].count,
        }
    }

    /// The id of the batch that it was last put into; `None` if it never left the table. Where an attempt
    /// [may have been applied](Self::may_be_applied) this is what tells whether it was, unless
    /// the sink named this key alone as failed: then it is the id that the next attempt would have had.
    pub fn batch(&self) -> Option<BatchId> {
        self.batch
    }

    /// Its place in that batch.
    #[cfg_attr(not(feature = "dead-letters"), allow(dead_code, reason = "they ask for it"))]
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// How far it had got.
    pub fn state(&self) -> &UndeliveredState {
        &self.state
    }

    /// Whether it may have been applied, or may yet be. If so, applying it by other means can count it
    /// twice: look first whether [`batch`](Self::batch) is there.
    pub fn may_be_applied(&self) -> bool {
        self.may_be_applied
    }

    /// Takes key and data out. Storing them by other means **counts twice** what
    /// [may be applied](Self::may_be_applied).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::Buffer;
    ///
    /// let events = Buffer::builder().start(|_: &u64, _: &Vec<char>| Err("the database is away"))?;
    /// events.insert(7, 'a')?;
    /// let left = events.shutdown(Duration::from_millis(20)).unwrap_err().into_undelivered();
    /// let mut file = Vec::new();
    /// for left in left {
    ///     match left.into_parts() {
    ///         Ok((key, items)) => file.push((key, items)),
    ///         Err(in_callback) => file.push((*in_callback.key(), in_callback.data().clone())),
    ///     }
    /// }
    /// assert_eq!(file, [(7, vec!['a'])]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Gives `self` back while a callback may still be reading the data
    /// ([`UndeliveredState::InCallback`]); [`key`](Self::key) and [`data`](Self::data) work always.
    pub fn into_parts(self) -> Result<(K, V), Self> {
        match self.held {
            Held::Own { key, data, .. } => Ok((key, data)),
            held @ Held::Shared(..) => Err(Undelivered { held, ..self }),
        }
    }
}
