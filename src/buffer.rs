//! The handle that users hold.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};
use std::time::Duration;

use equivalent::Equivalent;

use crate::aggregate::Aggregate;
use crate::batch::FlushReason;
use crate::builder::{Builder, RandomState};
use crate::driver::core::Core;
use crate::driver::sync::Ordering;
use crate::driver::wait::life::Phase;
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::shard::Owned;
use crate::error::{FlushWaitError, InsertError, InsertManyError, ShutdownError};
use crate::key::{Key, ToKey};
use crate::peek::{KeyCount, Peek};
use crate::stats::Stats;

/// A handle to a running buffer: cheap to clone, `Send` and `Sync`, and without the sink's type in
/// its own.
///
/// Start one with [`Buffer::builder`]. `K` is the key, `V` the [`Aggregate`] that is kept per key.
/// Every method may be called from any thread and from inside callbacks of any buffer; those that
/// would then wait for themselves return an error.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum, SummingBuffer};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views: SummingBuffer<String, i64> = Buffer::builder().start(store)?;
/// let handle = views.clone(); // for another thread
/// let other = std::thread::spawn(move || handle.add("/home", 2));
/// views.add("/home", 1)?;
/// other.join().expect("it does not panic")?;
/// assert_eq!(views.total("/home"), Some(3));
/// views.shutdown(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// No call can be made by code that runs under a lock of the same buffer (the drop of an item that an
/// aggregate lets go of, a method of a key or an aggregate), nor in a process that was forked from the one
/// that started the buffer, for there is nobody to flush it. Calls that return an error then return
/// `WouldDeadlock` or `Forked`; the others ([`count`](Self::count), [`peek`](Self::peek),
/// [`stats`](Self::stats) and so on) panic and say so. Dropping a handle in a forked process does nothing.
///
/// # Dropping
///
/// When the last handle is dropped the buffer is shut down: the drop waits for at most
/// [`Builder::drop_timeout`] and then reports what is left to
/// [`Observer::undelivered`](crate::Observer::undelivered). It does not wait inside one of the buffer's
/// own callbacks, with an async sink, or (with the feature `tokio`) on a thread that belongs to a
/// runtime: there the buffer drains by itself, within the same time, if the program lasts so long. Call
/// [`shutdown`](Self::shutdown) or await `shutdown_async` to wait for it and to get what is left back.
pub struct Buffer<K, V, S = RandomState> {
    handle: Arc<Handle<K, V, S>>,
}

/// What is dropped with the last handle.
struct Handle<K, V, S> {
    core: Arc<Core<K, V, S>>,
    /// Kept as a pointer so that the type of the handle needs no bounds.
    last_dropped: fn(&Core<K, V, S>),
}

impl<K, V, S> Drop for Handle<K, V, S> {
    fn drop(&mut self) {
        (self.last_dropped)(&self.core);
    }
}

/// A handle that does not keep the buffer running: what a sink holds to reach its own buffer.
///
/// Get one from [`Buffer::downgrade`], or before the buffer exists from
/// [`Builder::start_cyclic`].
///
/// ```
/// use write_behind::{Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views = Buffer::builder().start(store)?;
/// let weak = views.downgrade();
/// weak.upgrade().expect("a handle is there").add("/home", 1)?;
/// drop(views); // the last handle: flushes
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WeakBuffer<K, V, S = RandomState> {
    handle: Weak<Handle<K, V, S>>,
}

impl<K, V, S> WeakBuffer<K, V, S> {
    /// The buffer, unless its last handle has been dropped or it is not yet started.
    /// [`WeakBuffer`] has an example.
    #[must_use]
    pub fn upgrade(&self) -> Option<Buffer<K, V, S>> {
        self.handle.upgrade().map(|handle| Buffer { handle })
    }
}

impl<K, V, S> Clone for WeakBuffer<K, V, S> {
    fn clone(&self) -> Self {
        WeakBuffer { handle: Weak::clone(&self.handle) }
    }
}

impl<K, V, S> fmt::Debug for WeakBuffer<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBuffer")
    }
}

impl<K, V, S> Clone for Buffer<K, V, S> {
    fn clone(&self) -> Self {
        Buffer { handle: Arc::clone(&self.handle) }
    }
}

impl<K, V, S> fmt::Debug for Buffer<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.handle.core.settings.name;
        f.debug_struct("Buffer").field("name", name).finish_non_exhaustive()
    }
}

impl<K, V> Buffer<K, V> {
    /// Settings for a new buffer, all at their defaults.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views: SummingBuffer<String, i64> = Buffer::builder().interval(Duration::from_secs(1)).start(store)?;
    /// # views.add("/home", 1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder<K, V>
    where
        K: Key,
        V: Aggregate,
    {
        Builder::new()
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// Makes the handle first and its core from the weak one, so that a sink can hold it.
    pub(crate) fn cyclic(make: impl FnOnce(WeakBuffer<K, V, S>) -> Core<K, V, S>) -> Self {
        let handle = Arc::new_cyclic(|weak| Handle {
            core: Arc::new(make(WeakBuffer { handle: Weak::clone(weak) })),
            last_dropped: last_dropped::<K, V, S>,
        });
        Buffer { handle }
    }

    pub(crate) fn core(&self) -> &Arc<Core<K, V, S>> {
        &self.handle.core
    }

    /// The core, for calls that have no error to return.
    fn callable(&self) -> &Core<K, V, S> {
        self.core().must_call();
        self.core()
    }

    /// Adds an item to its key's aggregate. The first insert of a generation sets its deadline;
    /// later ones never move it.
    ///
    /// Cost: one hash and one uncontended lock. If the key has data already there is no clock read,
    /// no allocation (but what the aggregate itself does) and no shared atomic.
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
        Peek { pending: seen.pending, in_flight: seen.in_flight }
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

    /// Makes the key's data due now and returns at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush("/home");
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert!(!views.contains("/home") && views.contains("/news"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) {
        self.callable().request(key, None);
    }

    /// Makes everything due now and returns at once. O(keys).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().start_inline(store, &clock)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush_all();
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!(views.stats().flushed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_all(&self) {
        self.callable().request_all(FlushReason::Requested, None);
    }

    /// Flushes the key and waits until everything of it that was there at the time of the call has
    /// been settled: pending, in flight and waiting for a retry. Does not cut a retry's wait short.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().interval(Duration::from_secs(3_600)).start(store)?;
    /// views.add("/home", 1)?;
    /// views.flush_and_wait("/home", Duration::from_secs(10))?; // not an hour later
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FlushWaitError::Failed`] if some of it was given up, with the sink's error as the source;
    /// [`TimedOut`](FlushWaitError::TimedOut) after `timeout` (the flush goes on);
    /// [`Closed`](FlushWaitError::Closed) if the buffer was shut down first;
    /// [`WouldDeadlock`](FlushWaitError::WouldDeadlock) inside a callback of the same buffer.
    pub fn flush_and_wait<Q>(&self, key: &Q, timeout: Duration) -> Result<(), FlushWaitError>
    where
        Q: ?Sized + Hash + Equivalent<K>,
    {
        let core = self.core();
        core.may_call()?;
        let partition = core.intake.spot(key).partition;
        self.wait(timeout, partition..partition + 1, |waiter| core.request(key, Some(waiter)))
    }

    /// Flushes everything and waits for all that was there at the time of the call. Clones every
    /// key; O(keys).
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// views.add("/news", 1)?;
    /// views.flush_all_and_wait(Duration::from_secs(10))?; // before a backup, say
    /// assert_eq!(views.stats().flushed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`flush_and_wait`](Self::flush_and_wait), with the first of the failures.
    pub fn flush_all_and_wait(&self, timeout: Duration) -> Result<(), FlushWaitError> {
        let core = self.core();
        core.may_call()?;
        self.wait(timeout, 0..core.intake.partitions(), |waiter| {
            core.request_all(FlushReason::Requested, Some(waiter));
        })
    }

    fn wait(
        &self,
        timeout: Duration,
        partitions: std::ops::Range<usize>,
        request: impl FnOnce(&WaiterRef),
    ) -> Result<(), FlushWaitError> {
        let core = self.core();
        core.may_wait()?;
        let deadline = core.deadline(timeout);
        let result = core.begin_waiting(partitions, request).wait(deadline);
        result.unwrap_or(Err(FlushWaitError::TimedOut(timeout)))
    }

    /// **Takes data out that will not be flushed**: what you do not store is lost.
    ///
    /// Cancels the key's pending data and gives it back, oldest first: nothing if there is none, and more
    /// than one only where an aggregate could absorb no more. Data in flight cannot be cancelled.
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

    /// Whether inserts are refused because the buffer has been shut down.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.shutdown(Duration::from_secs(10))?;
    /// assert!(views.is_closed() && views.add("/home", 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().life.phase() > Phase::Open
    }

    /// Offers what is kept as undelivered ([`Stats::undelivered`]) to the sink again, with fresh attempts.
    /// Returns how many keys are on their way now.
    ///
    /// Data of which an attempt may have been applied goes out as the identical batch under its id; other
    /// data is put back before newer data of its key. What cannot be offered now stays: keys of which newer
    /// data is in flight, and batches that are no longer whole because `handle_error` has taken a part of
    /// them. O(undelivered keys).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, RetryPolicy, Sum};
    ///
    /// let away = Arc::new(AtomicBool::new(true));
    /// let database = Arc::clone(&away);
    /// let sink = move |_: &String, _: &Sum<i64>| match database.load(Ordering::Relaxed) {
    ///     true => Err("the database is away"),
    ///     false => Ok(()),
    /// };
    /// let clock = ManualClock::new();
    /// let views = Buffer::builder().retry(RetryPolicy::never()).start_inline(sink, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!(views.stats().undelivered, 1);
    ///
    /// away.store(false, Ordering::Relaxed); // somebody has repaired it
    /// assert_eq!(views.retry_undelivered(), 1);
    /// clock.advance(Duration::ZERO); // does what is due
    /// assert_eq!((views.stats().undelivered, views.stats().flushed), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_undelivered(&self) -> usize {
        self.callable().retry_undelivered()
    }

    /// Closes the buffer, flushes everything without waiting for intervals or backoff, and returns
    /// when all is delivered and the sink is gone, at the latest after `timeout`.
    ///
    /// From the call on inserts are refused. `Ok` means that whatever was accepted before is stored, removed
    /// or was taken by a `handle_error` that you wrote. While there is time, a failed flush is tried again,
    /// however many attempts the retry policy has left, 50 ms later at first and at most 1 s (only data
    /// that the sink [gives up](crate::FlushError::give_up) is not). May be called again and by several
    /// threads at once: all wait for the same end.
    ///
    /// When all callbacks are back, the sink is told ([`handle_retired`](crate::DataBuffer::handle_retired))
    /// and dropped, by the buffer's scheduler.
    ///
    /// A callback that is still running at the deadline is left alone: its data is returned as
    /// [`UndeliveredState::InCallback`](crate::UndeliveredState::InCallback), may yet be applied,
    /// and what it returns is ignored. Data that `handle_error` has been given, or that waits for it
    /// behind such data of the same batch, is settled when that is over; if it is then to be kept, the next
    /// call of this returns it.
    ///
    /// What was not delivered is in the error, and **lost if that is dropped**.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn bury(_: &str, _: i64) {}
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 1)?;
    /// if let Err(error) = views.shutdown(Duration::from_secs(10)) {
    ///     for left in error.into_undelivered() {
    ///         bury(left.key(), left.data().0); // to a file, say
    ///     }
    /// }
    /// assert_eq!(views.stats().flushed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Undelivered`] with every key and data that was not delivered; only one of
    /// several callers gets them, the others [`ShutdownError::AlreadyReturned`].
    /// [`ShutdownError::WouldDeadlock`] inside a callback of the same
    /// buffer, which is closed all the same and drains within `timeout`.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError<K, V>> {
        let core = self.core();
        core.may_call()?;
        let deadline = core.deadline(timeout);
        core.begin_shutdown(deadline);
        core.may_wait()?;
        core.await_closed(deadline);
        self.hand_back()
    }

    pub(crate) fn hand_back(&self) -> Result<(), ShutdownError<K, V>> {
        let (leftovers, ever) = self.core().fetch_undelivered();
        match ever {
            0 => Ok(()),
            _ if leftovers.inserts() > 0 => Err(ShutdownError::Undelivered(leftovers)),
            inserts => Err(ShutdownError::AlreadyReturned { inserts }),
        }
    }

    /// **What is not delivered within `timeout` is lost.** [`shutdown`](Self::shutdown) returns it instead.
    ///
    /// Shuts the buffer down when the guard is dropped, for at most `timeout`, and tells the observers what
    /// is left. For a buffer in a `static`, whose handle is never dropped: what it holds at the end of the
    /// program is lost unless it is shut down.
    ///
    /// ```
    /// use std::sync::LazyLock;
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum, SummingBuffer};
    ///
    /// static VIEWS: LazyLock<SummingBuffer<String, i64>> = LazyLock::new(|| {
    ///     let store = |page: &String, views: &Sum<i64>| {
    ///         println!("{page}: {}", views.0);
    ///         Ok::<(), std::io::Error>(())
    ///     };
    ///     Buffer::builder().start(store).expect("the settings are valid")
    /// });
    ///
    /// fn main() {
    ///     // Dropped at the end of main, also by a panic; not by `std::process::exit`.
    ///     let _guard = VIEWS.shutdown_on_drop(Duration::from_secs(10));
    ///     VIEWS.increment("/home").expect("there is room");
    /// }
    /// ```
    #[must_use = "the buffer is shut down when the guard is dropped"]
    pub fn shutdown_on_drop(&self, timeout: Duration) -> ShutdownGuard<K, V, S> {
        ShutdownGuard { buffer: self.clone(), timeout }
    }

    /// A handle that does not keep the buffer running.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// let weak = views.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakBuffer<K, V, S> {
        WeakBuffer { handle: Arc::downgrade(&self.handle) }
    }
}

/// Shuts a buffer down when it is dropped: see [`Buffer::shutdown_on_drop`].
pub struct ShutdownGuard<K: Key, V: Aggregate, S: BuildHasher = RandomState> {
    buffer: Buffer<K, V, S>,
    timeout: Duration,
}

impl<K: Key, V: Aggregate, S: BuildHasher> fmt::Debug for ShutdownGuard<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownGuard").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for ShutdownGuard<K, V, S> {
    fn drop(&mut self) {
        let core = self.buffer.core();
        close(core, core.deadline(self.timeout));
    }
}

fn last_dropped<K: Key, V: Aggregate, S: BuildHasher>(core: &Core<K, V, S>) {
    core.orphaned.store(true, Ordering::Relaxed);
    close(core, core.deadline(core.settings.drop_timeout));
}

/// Shuts down without anybody to hand anything back to.
fn close<K: Key, V: Aggregate, S: BuildHasher>(core: &Core<K, V, S>, deadline: Duration) {
    if core.may_call().is_err() {
        return;
    }
    if core.life.phase() < Phase::Retired {
        core.begin_shutdown(deadline);
        if !core.may_wait_in_drop() {
            return;
        }
        core.await_closed(deadline);
    }
    core.report_left();
}
