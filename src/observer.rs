//! What happens inside, told as it happens.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{BatchId, FlushReason};
use crate::error::InsertErrorKind;
use crate::failure::FailureCause;
use crate::journal::JournalError;
use crate::stats::Stats;

/// One attempt to flush one batch.
///
/// ```
/// use write_behind::{FlushEvent, Observer};
///
/// struct Late;
///
/// impl Observer for Late {
///     fn flush_started(&self, flush: &FlushEvent<'_>) {
///         if flush.late.as_millis() > 100 {
///             eprintln!("{}: batch {} of {} keys starts {:?} late", flush.buffer, flush.batch, flush.keys, flush.late);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FlushEvent<'a> {
    /// [`Builder::name`](crate::Builder::name).
    pub buffer: &'a str,
    /// The batch.
    pub batch: BatchId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Why its first entry was taken.
    pub reason: FlushReason,
    /// How many keys.
    pub keys: usize,
    /// How many inserts.
    pub inserts: u64,
    /// How long after its deadline the latest of its keys was taken, to the millisecond: zero for those
    /// that were asked for earlier.
    pub late: Duration,
}

/// Watches a buffer. Every method does nothing by default; implement those that you need.
///
/// Methods run on the thread where the thing happened (a worker, the scheduler, or the inserting
/// thread for [`shed`](Self::shed) and [`refused`](Self::refused)), outside all locks. They should return quickly. A panic is
/// contained and counted in [`Stats::panics`](crate::Stats::panics).
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use write_behind::{Buffer, FlushEvent, Observer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// #[derive(Default)]
/// struct Written(AtomicU64);
///
/// impl Observer for Written {
///     fn flush_succeeded(&self, flush: &FlushEvent<'_>, _took: Duration) {
///         self.0.fetch_add(flush.inserts, Ordering::Relaxed);
///     }
/// }
///
/// let written = Arc::new(Written::default());
/// let views = Buffer::builder().observer(Arc::clone(&written)).start(store)?;
/// views.add("/home", 1)?;
/// views.shutdown(Duration::from_secs(10))?;
/// assert_eq!(written.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A callback is about to be called.
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        let _ = flush;
    }

    /// The callback acknowledged the whole batch after `took`.
    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        let _ = (flush, took);
    }

    /// The callback failed after `took`, for the whole batch or, as `keys` says, for that many of
    /// its keys; `cause` is the first of them.
    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, cause: &FailureCause, took: Duration) {
        let _ = (flush, keys, cause, took);
    }

    /// A batch will be sent again, `after` from now.
    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        let _ = (flush, after);
    }

    /// One key is handed to `handle_error`, which may forget, keep or requeue it: `inserts` of it, after
    /// `attempts`.
    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
        let _ = (buffer, inserts, attempts, cause);
    }

    /// A callback has been running for longer than `flush_timeout`, and still is. Told once per
    /// attempt.
    fn overdue(&self, buffer: &str, batch: BatchId, running: Duration) {
        let _ = (buffer, batch, running);
    }

    /// An item was turned away because memory is full.
    fn shed(&self, buffer: &str) {
        let _ = buffer;
    }

    /// So many inserts were refused with an error; `kind` is that of the first.
    fn refused(&self, buffer: &str, inserts: u64, kind: InsertErrorKind) {
        let _ = (buffer, inserts, kind);
    }

    /// How often this wants to be told the buffer's [statistics](Self::measured) while the buffer is awake,
    /// which costs a wake-up and O(partitions) each time. Asked once, at the start. Default: never.
    fn measure_every(&self) -> Option<Duration> {
        None
    }

    /// The buffer's statistics, as often as [`measure_every`](Self::measure_every) says and when it goes to
    /// rest or comes to its end. Told by the scheduler.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Observer, Stats};
    ///
    /// /// Says when memory runs short.
    /// struct Watch;
    ///
    /// impl Observer for Watch {
    ///     fn measure_every(&self) -> Option<Duration> {
    ///         Some(Duration::from_secs(1))
    ///     }
    ///
    ///     fn measured(&self, buffer: &str, stats: &Stats) {
    ///         if stats.keys > stats.max_keys / 10 * 9 {
    ///             eprintln!("{buffer}: {} of {} keys", stats.keys, stats.max_keys);
    ///         }
    ///     }
    /// }
    /// ```
    fn measured(&self, buffer: &str, stats: &Stats) {
        let _ = (buffer, stats);
    }

    /// Data stays undelivered: `handle_error` kept it or panicked on it, or the last handle was dropped
    /// and its patience ran out, when it **is lost** with the buffer. What a journal keeps is not told of then.
    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        let _ = (buffer, keys, inserts);
    }

    /// The buffer has gone to rest.
    fn hibernated(&self, buffer: &str) {
        let _ = buffer;
    }

    /// The journal could not be written. Told of every attempt that fails: the first, and then as often as a fresh file is
    /// tried, at least every 30 s. What the buffer does until it can: `OnDiskFailure`. Feature `journal`.
    ///
    /// This and [`journal_recovered`](Self::journal_recovered) run on the journal's thread, or in `shutdown`, and hold it
    /// up.
    ///
    #[cfg_attr(feature = "journal", doc = "```")]
    #[cfg_attr(not(feature = "journal"), doc = "```ignore")]
    /// use write_behind::Observer;
    /// use write_behind::journal::JournalError;
    ///
    /// struct Alarm;
    ///
    /// impl Observer for Alarm {
    ///     fn journal_failed(&self, buffer: &str, error: &JournalError) {
    ///         eprintln!("{buffer}: not kept on disk any more: {error}");
    ///     }
    ///
    ///     fn journal_recovered(&self, buffer: &str) {
    ///         eprintln!("{buffer}: kept on disk again");
    ///     }
    /// }
    /// ```
    fn journal_failed(&self, buffer: &str, error: &JournalError) {
        let _ = (buffer, error);
    }

    /// The journal is written again, all that the buffer holds. Feature `journal`;
    /// [`journal_failed`](Self::journal_failed) has an example.
    fn journal_recovered(&self, buffer: &str) {
        let _ = buffer;
    }

    /// The buffer is awake again.
    fn woke(&self, buffer: &str) {
        let _ = buffer;
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        O::flush_started(self, flush);
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        O::flush_succeeded(self, flush, took);
    }

    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, cause: &FailureCause, took: Duration) {
        O::flush_failed(self, flush, keys, cause, took);
    }

    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        O::flush_retried(self, flush, after);
    }

    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
        O::gave_up(self, buffer, inserts, attempts, cause);
    }

    fn overdue(&self, buffer: &str, batch: BatchId, running: Duration) {
        O::overdue(self, buffer, batch, running);
    }

    fn shed(&self, buffer: &str) {
        O::shed(self, buffer);
    }

    fn refused(&self, buffer: &str, inserts: u64, kind: InsertErrorKind) {
        O::refused(self, buffer, inserts, kind);
    }

    fn measure_every(&self) -> Option<Duration> {
        O::measure_every(self)
    }

    fn measured(&self, buffer: &str, stats: &Stats) {
        O::measured(self, buffer, stats);
    }

    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        O::undelivered(self, buffer, keys, inserts);
    }

    fn hibernated(&self, buffer: &str) {
        O::hibernated(self, buffer);
    }

    fn woke(&self, buffer: &str) {
        O::woke(self, buffer);
    }

    fn journal_failed(&self, buffer: &str, error: &JournalError) {
        O::journal_failed(self, buffer, error);
    }

    fn journal_recovered(&self, buffer: &str) {
        O::journal_recovered(self, buffer);
    }
}
