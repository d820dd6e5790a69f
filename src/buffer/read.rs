use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

use super::Buffer;
use crate::aggregate::Aggregate;
use crate::health::Health;
use crate::key::Key;
use crate::peek::{KeyCount, Peek};
use crate::stats::Stats;
use crate::writer::Writer;

/// # Looking at what is there
impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// How many inserts of `key` are pending and in flight. What is kept as undelivered is in neither.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 10)?;
    /// views.add("/home", 20)?;
    /// assert_eq!(views.count("/home").pending, 2); // inserts, and not the sum of them
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> KeyCount {
        let (pending, in_flight) = self.callable().count(key);
        KeyCount { pending, in_flight }
    }

    /// A copy of the key's data, pending and in flight, without what is kept as undelivered. Cloning of pending data runs under the lock
    /// of the key's partition.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 10)?;
    /// views.add("/home", 20)?;
    /// assert_eq!(views.peek("/home").pending, [Sum(30)]);
    /// assert!(views.peek("/news").is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Peek<V>
    where
        V: Clone,
    {
        let seen = self.callable().peek(key);
        Peek { pending: seen.pending, in_flight: seen.in_flight, moved: seen.moved }
    }

    /// Whether there is data of `key`, pending or in flight.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// assert!(views.contains("/home"));
    /// views.flush_and_wait("/home", Duration::from_secs(10))?;
    /// assert!(!views.contains("/home")); // stored, and forgotten
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> bool {
        self.callable().contains(key)
    }

    /// All keys that hold data, in no particular order. Each partition is read in steps: keys that
    /// come and go meanwhile may be missed or be there twice. O(keys).
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// assert_eq!(views.keys(), ["/home"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        self.callable().keys()
    }

    /// All keys with a copy of their data; each key's is of one instant. O(keys).
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// for (page, held) in views.snapshot() {
    ///     println!("{page}: {:?} waiting, {:?} on the way", held.pending, held.in_flight);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Vec<(K, Peek<V>)>
    where
        V: Clone,
    {
        let keys = self.keys().into_iter();
        keys.map(|key| (self.peek(&key), key))
            .filter(|(data, _)| !data.is_empty())
            .map(|(data, key)| (key, data))
            .collect()
    }

    /// **Takes data out that will not be flushed**: what you do not store is lost.
    ///
    /// Cancels the key's pending data and gives it back, oldest first: nothing if there is none, and more
    /// than one only where an aggregate could absorb no more. Data in flight cannot be cancelled. With a journal a crash may
    /// bring back what was removed after the last commit: `sync` before you act on it.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/draft", 7)?;
    /// assert_eq!(views.remove("/draft"), [Sum(7)]); // never shown to the sink
    /// assert!(views.remove("/draft").is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "what is removed will not be flushed"]
    pub fn remove<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Vec<V> {
        self.callable().remove(key)
    }

    /// What [`BatchId::instance`](crate::BatchId::instance) is in all batches of this buffer: to make it known to a
    /// storage before the first of them. With a journal it is the same at every start.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().start(store)?;
    /// println!("writes as {:016x}", events.instance());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.callable().instance
    }

    /// As whom this buffer writes: its [`instance`](Self::instance), and how often that was started.
    ///
    /// ```
    /// use write_behind::Buffer;
    /// # fn store(_: &String, _: &Vec<u64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let events = Buffer::builder().start(store)?;
    /// assert_eq!(events.writer().instance, events.instance());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn writer(&self) -> Writer {
        let core = self.callable();
        Writer { instance: core.instance, epoch: core.epoch }
    }

    /// A snapshot of the counters. O(partitions).
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// let stats = views.stats();
    /// assert_eq!((stats.accepted, stats.pending, stats.keys), (1, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.callable().stats()
    }

    /// What a health check wants to know: how long flushes have been failing and why, beside the counters.
    /// O(partitions).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    ///
    /// let away = |_: &String, _: &Sum<i64>| Err::<(), _>("the database is away");
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(away, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(65)); // 5 s until the first attempt, and a minute of failures
    /// let health = views.health();
    /// assert_eq!(health.degraded_for, Some(Duration::from_secs(60)));
    /// assert_eq!(health.last_failure.unwrap().0.to_string(), "the database is away");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.callable().health()
    }
}
