use std::hash::BuildHasher;

use super::Buffer;
use crate::aggregate::Aggregate;
use crate::engine::shard::Owned;
use crate::error::{InsertError, InsertManyError};
use crate::key::{Key, ToKey};

/// # Inserting
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// Adds an item to its key's aggregate. The first insert of a generation sets its deadline;
    /// later ones never move it.
    ///
    /// Cost: one hash and one uncontended lock. If the key has data already there is no clock read,
    /// no allocation (but what the aggregate itself does) and no shared atomic. Counters for which threads
    /// contend need no lock either: see [hot keys](crate::guide::hot_keys).
    ///
    /// ```
    /// use write_behind::Buffer;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().start(store)?;
    /// if let Err(refused) = events.insert("ada".to_owned(), 7) {
    ///     let (user, event) = refused.into_rejected(); // write it yourself, or say so to whoever brought it
    ///     # panic!("{user} {event}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InsertError`] with key and item inside: the buffer is closed, or it is full and the
    /// [`Overflow`](crate::Overflow) policy refuses. With the default policy this never waits; with
    /// the waiting ones it blocks the thread for at most their timeout.
    ///
    /// # Panics
    ///
    /// Passes on panics of the key's `Hash` and `Eq` and of the aggregate.
    #[inline]
    pub fn insert(&self, key: K, item: V::Item) -> Result<(), InsertError<(K, V::Item)>> {
        let core = self.core();
        let inserted = match core.may_insert() {
            Ok(()) => core.insert(core.intake.spot(&key), Owned(key), item),
            Err(barred) => Err(InsertError::new(barred.into(), (Owned(key), item))),
        };
        inserted.map_err(|refused| core.refuse(refused, |(Owned(key), item)| (key, item)))
    }

    /// As [`insert`](Self::insert), with a borrowed form of the key ([`ToKey`]): makes the key only if it
    /// is new.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().start(store)?;
    /// events.insert_ref("ada", 7)?; // makes a `String`
    /// events.insert_ref("ada", 8)?; // makes none
    /// assert_eq!(events.peek("ada").pending, [[7, 8]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); the item is inside.
    #[inline]
    pub fn insert_ref<Q>(&self, key: &Q, item: V::Item) -> Result<(), InsertError<V::Item>>
    where
        Q: ?Sized + ToKey<K>,
    {
        let core = self.core();
        let inserted = match core.may_insert() {
            Ok(()) => core.insert(core.intake.spot(key), key, item),
            Err(barred) => Err(InsertError::new(barred.into(), (key, item))),
        };
        inserted.map_err(|refused| core.refuse(refused, |(_, item)| item))
    }

    /// Inserts many items. Those of one key in their order, and one that is refused does not keep
    /// the others out.
    ///
    /// Where many share a partition, up to 2 048 items are taken from the iterator and then inserted
    /// with one lock for each partition: about half the cost of single inserts on a hot key, a tenth
    /// less in long batches over many keys. Short batches over many keys cost up to a fifth more. An
    /// iterator that waits for its next item may keep those before it waiting too.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().start(store)?;
    /// events.insert_many((1..=3).map(|event| ("ada".to_owned(), event)))?;
    /// assert_eq!(events.peek("ada").pending, [[1, 2, 3]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InsertManyError`] with all refused items inside, in their order. A waiting overflow policy
    /// may wait for each of them. Where there is not room for all keys, those that are refused need
    /// not be the last ones.
    ///
    /// # Panics
    ///
    /// Passes on panics of the iterator, of the key's `Hash` and `Eq` and of the aggregate. An item
    /// that causes one is lost; all others that the iterator has given are inserted first, those
    /// that are refused are dropped, and the iterator is not asked for more.
    pub fn insert_many<I>(&self, items: I) -> Result<(), InsertManyError<K, V::Item>>
    where
        I: IntoIterator<Item = (K, V::Item)>,
    {
        self.core().insert_many(items.into_iter())
    }
}
