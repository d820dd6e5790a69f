use std::time::Duration;

/// A snapshot of a buffer's counters, in inserts unless a field says otherwise.
///
/// Each partition is read under its lock, so at every instant
///
/// ```text
/// accepted + recovered = flushed + gave_up + removed + returned + journaled + pending + in_flight + spilled
/// ```
///
/// holds exactly (see [`balance`](Self::balance)). `rejected` and `shed` were never accepted and
/// stand apart.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views = Buffer::builder().start(store)?;
/// views.add("/home", 1)?;
/// views.add("/home", 1)?;
/// views.flush_all_and_wait(Duration::from_secs(10))?;
/// let stats = views.stats();
/// assert_eq!((stats.accepted, stats.flushed, stats.flushes), (2, 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Taken in.
    pub accepted: u64,
    /// Acknowledged by the sink.
    pub flushed: u64,
    /// Handed to `handle_error` for good: forgotten, or taken out by it.
    pub gave_up: u64,
    /// Taken back with `remove`.
    pub removed: u64,
    /// Returned by `shutdown`, or left over when the last handle was dropped. With a journal that is sound: none, but
    /// [`journaled`](Self::journaled).
    pub returned: u64,
    /// Found in the journal at the start, besides `accepted`. Feature `journal`, as what follows about it.
    pub recovered: u64,
    /// Left in the journal at the end, for the next start: what [`shutdown`](crate::Buffer::shutdown) could not deliver.
    pub journaled: u64,
    /// In the table.
    pub pending: u64,
    /// Taken from the table and not acknowledged: being flushed, waiting for a retry, or undelivered.
    pub in_flight: u64,
    /// On disk only: batches in the journal's file that are not in memory, because there was no room
    /// ([`Overflow::Spill`](crate::Overflow)), or is none yet after a start. In memory's place, so neither pending nor in
    /// flight, and not to be seen by reads of keys. Feature `journal`.
    pub spilled: u64,
    /// How many bytes that is.
    pub spilled_bytes: u64,
    /// The part of `in_flight` that `handle_error` kept or panicked on. Reads of keys do not see it;
    /// [`Buffer::retry_undelivered`](crate::Buffer::retry_undelivered) offers it again, `shutdown` returns it; with a journal
    /// it stays in there, undelivered in the next life too.
    pub undelivered: u64,
    /// Refused with an error.
    pub rejected: u64,
    /// Turned away under [`Overflow::Shed`](crate::Overflow::Shed).
    pub shed: u64,
    /// Different keys that hold data, in flight included.
    pub keys: u64,
    /// What their data weighs, in flight included.
    pub weight: u64,
    /// The bound on `keys`: [`Builder::max_keys`](crate::Builder::max_keys).
    pub max_keys: u64,
    /// The bound on `weight`: [`Builder::max_weight`](crate::Builder::max_weight).
    pub max_weight: u64,
    /// How old the oldest pending data is, zero if there is none: by its deadline, so to within jitter and linger,
    /// and to the accuracy of the timing wheel; less than this where an interval policy is set.
    pub oldest_pending: Duration,
    /// For how long every attempt has failed wholly: `None` if the last answer of the sink was another.
    pub degraded_for: Option<Duration>,
    /// Batches handed to the sink, attempts counted one by one.
    pub flushes: u64,
    /// Attempts that failed, wholly or for some keys.
    pub failures: u64,
    /// Attempts that were scheduled again.
    pub retries: u64,
    /// Attempts that ran longer than `flush_timeout`.
    pub overdue: u64,
    /// Callbacks of the sink, of an observer or of the interval policy that panicked.
    pub panics: u64,
    /// Callbacks that came back after `shutdown` had given their data away.
    pub late: u64,
    /// Commits of the journal, each a sync of the disk. One that would write nothing is not made.
    pub journal_commits: u64,
    /// Attempts to write the journal that failed, those included that were to make a fresh file.
    pub journal_failures: u64,
    /// For how long the journal cannot be written, from the first attempt that failed: `None` if all is well, or there is
    /// none. Why: [`Health::journal_failure`](crate::Health::journal_failure).
    pub journal_failing_for: Option<Duration>,
    /// Threads, or tasks, at work for this buffer's sink at this moment.
    pub workers: u64,
    /// Whether the buffer is at rest: no wake-ups, no thread, memory given back; until the step after the insert that
    /// wakes it.
    pub hibernating: bool,
    /// Whether nothing is flushed until somebody says [`resume`](crate::Buffer::resume).
    pub paused: bool,
}

impl Stats {
    /// What came in less everything that became of it: always 0. The law of conservation, as a number
    /// to watch.
    ///
    /// ```
    /// use write_behind::Stats;
    ///
    /// assert_eq!(Stats::default().balance(), 0);
    /// ```
    #[must_use]
    pub fn balance(&self) -> i128 {
        let sum = |inserts: &[u64]| inserts.iter().map(|&inserts| i128::from(inserts)).sum::<i128>();
        let gone = sum(&[self.flushed, self.gave_up, self.removed, self.returned, self.journaled]);
        sum(&[self.accepted, self.recovered]) - gone - sum(&[self.pending, self.in_flight, self.spilled])
    }
}
