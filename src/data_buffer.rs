//! The traits that users implement: where data goes.

use std::sync::Arc;

use crate::batch::{FlushBatch, FlushContext};
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::failure::FlushError;

/// A sink that writes key by key: the user's type that a buffer hands data to.
///
/// One that writes many keys in one go (a SQL statement for a thousand of them) implements
/// [`BatchDataBuffer`] instead. Either is given to [`Builder::start`](crate::Builder::start), by itself,
/// in an `Arc` or in a `Box<dyn …>`; so is a closure `Fn(&K, &V) -> Result<(), E>`.
///
/// Callbacks run on threads that all buffers of the process share, at most
/// [`Builder::flush_concurrency`](crate::Builder::flush_concurrency) at once, outside all locks and with
/// panics contained. They may call every method of the buffer, best through a
/// [`WeakBuffer`](crate::WeakBuffer); a call that would wait for itself returns an error.
///
/// Each key is a batch of its own: it fails, is tried again, hangs and is overdue alone, and while one
/// callback is slow the others go on with other keys. A key has at most one generation in flight, so two
/// calls never work on the same key at once, and per key data arrives in insert order.
///
/// ```
/// use write_behind::{DataBuffer, FlushContext, FlushError};
///
/// struct AuditLog;
///
/// impl DataBuffer<String, Vec<String>> for AuditLog {
///     fn handle_flush(&self, user: &String, actions: &Vec<String>, _: &FlushContext) -> Result<(), FlushError> {
///         println!("{user}: {actions:?}");
///         Ok(())
///     }
/// }
/// ```
pub trait DataBuffer<K, V>: Send + Sync + 'static {
    /// Writes one key's aggregate. `Ok` means that it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// The [`FlushError`] says what is known about the outcome; any other error, by `?`, means that it is
    /// unknown. Then the same data is sent again with the same [`id`](FlushContext::id), by the
    /// [`RetryPolicy`](crate::RetryPolicy). A panic counts as an error of unknown outcome.
    fn handle_flush(&self, key: &K, data: &V, context: &FlushContext) -> Result<(), FlushError>;

    /// Decides about a key whose attempts are spent or [given up](FlushError::give_up). Provided: keeps
    /// it ([`Verdict::Keep`]), so that nothing is lost.
    ///
    /// If this panics before the data was taken out of `letter`, the data is kept all the same.
    ///
    /// With a journal a key is handed over *at least once*: when the process dies before the journal knows what was decided, the
    /// next one hands it over again, with the same [batch](DeadLetter::batch), key and data, and never sends it. A verdict of
    /// [`Keep`](Verdict::Keep) is in the journal too: [`retry_undelivered`](crate::Buffer::retry_undelivered) in a later life
    /// offers it to the sink, or, if that earlier life may have dealt with a part of it, to this again. What you do with a
    /// letter should count once by batch and key.
    ///
    /// ```
    /// use write_behind::{DataBuffer, DeadLetter, FlushContext, FlushError, Verdict};
    /// # fn save(_: &str, _: &[String]) -> std::io::Result<()> { Ok(()) }
    ///
    /// struct AuditLog;
    ///
    /// impl DataBuffer<String, Vec<String>> for AuditLog {
    ///     fn handle_flush(&self, _: &String, _: &Vec<String>, _: &FlushContext) -> Result<(), FlushError> {
    ///         Err("the database is away".into())
    ///     }
    ///
    ///     fn handle_error(&self, letter: DeadLetter<String, Vec<String>>) -> Verdict<String, Vec<String>> {
    ///         match save(letter.key(), letter.data()) {
    ///             Ok(()) => Verdict::Forget, // it is in a file now
    ///             Err(_) => Verdict::Keep(letter),
    ///         }
    ///     }
    /// }
    /// # let letter = DeadLetter::builder("ada".to_owned(), vec![], write_behind::FailureCause::Panicked("".into()));
    /// # assert!(matches!(AuditLog.handle_error(letter.build()), Verdict::Forget));
    /// ```
    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        Verdict::Keep(letter)
    }

    /// **Drops an item**, unless you write another one, that [`Overflow::Shed`](crate::Overflow::Shed) turned
    /// away because memory is full (observers and [`Stats::shed`](crate::Stats::shed) still tell). Runs on the
    /// inserting thread. `data` is an aggregate that holds just that item.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicI64, Ordering};
    /// use write_behind::{DataBuffer, FlushContext, FlushError, Sum};
    ///
    /// #[derive(Default)]
    /// struct Totals {
    ///     of_unknown_pages: AtomicI64,
    /// }
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         println!("{page}: {}", views.0);
    ///         Ok(())
    ///     }
    ///
    ///     /// Who visited what is lost, how many visits there were is not.
    ///     fn handle_shed(&self, _page: String, views: Sum<i64>) {
    ///         self.of_unknown_pages.fetch_add(views.0, Ordering::Relaxed);
    ///     }
    /// }
    /// # let totals = Totals::default();
    /// # totals.handle_shed("/home".to_owned(), Sum(3));
    /// # assert_eq!(totals.of_unknown_pages.into_inner(), 3);
    /// ```
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }

    /// The buffer is over and calls nothing else any more: the time to forget what was kept of its
    /// batches. Provided: does nothing. [`Retirement`] has an example.
    ///
    /// Not called if the buffer has a journal: its next start goes on with the same instance. What is recorded of it is
    /// pruned as it goes ([`settled_below`](FlushBatch::settled_below)), and one row stays for each journal there ever was.
    fn handle_retired(&self, retirement: &Retirement) {
        let _ = retirement;
    }
}

/// A sink that writes whole batches. Everything that [`DataBuffer`] says of threads, panics and
/// re-entrancy holds for it.
///
/// Batches hold at most [`Builder::max_batch_keys`](crate::Builder::max_batch_keys) keys. No two that are
/// in flight share a key.
///
/// ```
/// use write_behind::{BatchDataBuffer, FlushBatch, FlushError, Sum};
///
/// struct Totals;
///
/// impl BatchDataBuffer<String, Sum<i64>> for Totals {
///     fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
///         // One statement for all of them, rows in the order of their keys.
///         let rows: Vec<_> = batch.sorted().iter().map(|entry| (entry.key(), entry.data().0)).collect();
///         println!("{}: {rows:?}", batch.id());
///         Ok(())
///     }
/// }
/// ```
pub trait BatchDataBuffer<K, V>: Send + Sync + 'static {
    /// Writes a batch. `Ok` means that all of it is stored and can be forgotten.
    ///
    /// # Errors
    ///
    /// The [`FlushError`] says what is known about the outcome, for all keys or, by
    /// [`FlushError::entries`], for some; any other error, by `?`, means that the outcome of all is
    /// unknown. A panic counts as such.
    fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError>;

    /// As [`DataBuffer::handle_error`]: called for each key.
    fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        Verdict::Keep(letter)
    }

    /// As [`DataBuffer::handle_shed`]: the provided one **drops the item**.
    fn handle_shed(&self, key: K, data: V) {
        drop((key, data));
    }

    /// As [`DataBuffer::handle_retired`].
    fn handle_retired(&self, retirement: &Retirement) {
        let _ = retirement;
    }
}

macro_rules! forward_callbacks {
    () => {
        fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
            D::handle_error(self, letter)
        }

        fn handle_shed(&self, key: K, data: V) {
            D::handle_shed(self, key, data);
        }

        fn handle_retired(&self, retirement: &Retirement) {
            D::handle_retired(self, retirement);
        }
    };
}

macro_rules! forward_from {
    ($($pointer:ident)+) => {$(
        impl<K, V, D: DataBuffer<K, V> + ?Sized> DataBuffer<K, V> for $pointer<D> {
            fn handle_flush(&self, key: &K, data: &V, context: &FlushContext) -> Result<(), FlushError> {
                D::handle_flush(self, key, data, context)
            }

            forward_callbacks!();
        }

        impl<K, V, D: BatchDataBuffer<K, V> + ?Sized> BatchDataBuffer<K, V> for $pointer<D> {
            fn handle_flush_batch(&self, batch: &FlushBatch<K, V>) -> Result<(), FlushError> {
                D::handle_flush_batch(self, batch)
            }

            forward_callbacks!();
        }
    )+};
}

forward_from!(Arc Box);
