//! The settings of a buffer, as plain data.

use std::cmp::Reverse;
use std::time::Duration;

use crate::engine::retry::RetryPolicy;
use crate::engine::shard::{Step, Timing};
use crate::engine::tick::MAX_DELAY;
use crate::error::BuildError;

/// What an insert does when the buffer is full, that is, when it would exceed
/// [`Builder::max_keys`](crate::Builder::max_keys) or
/// [`Builder::max_weight`](crate::Builder::max_weight).
///
/// An insert that needs no room (adding to a sum that is there) is never refused. Inside a callback
/// of the same buffer the waiting policies do not wait and refuse at once.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, InsertErrorKind, Overflow};
/// # fn store(_: &u64, _: &Vec<char>) -> std::io::Result<()> { Ok(()) }
///
/// let overflow = Overflow::Block { timeout: Duration::from_millis(10) };
/// let events = Buffer::builder().max_keys(1).overflow(overflow).start(store)?;
/// events.insert(1, 'a')?;
/// let refused = events.insert(2, 'b').unwrap_err(); // 10 ms later
/// assert_eq!((refused.kind, refused.into_rejected()), (InsertErrorKind::TimedOut, (2, 'b')));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Overflow {
    /// Refuse at once with [`InsertErrorKind::Full`](crate::InsertErrorKind::Full). The default: it
    /// never makes a thread wait.
    Reject,
    /// Wait until there is room, up to `timeout`; then refuse with
    /// [`InsertErrorKind::TimedOut`](crate::InsertErrorKind::TimedOut).
    Block {
        /// How long to wait at most. Must not be zero.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        timeout: Duration,
    },
    /// As `Block`, and also flush a batch of the generations with the nearest deadlines right away
    /// to make room.
    FlushOldest {
        /// How long to wait at most. Must not be zero.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        timeout: Duration,
    },
    /// **Reads do not see what is spilled.** Make room by moving the generations with the nearest deadlines to the
    /// journal's file, and wait for that up to `timeout`; then refuse with
    /// [`InsertErrorKind::TimedOut`](crate::InsertErrorKind::TimedOut). So the database may be away for longer than memory
    /// lasts. Feature `journal`; needs a [`Builder::journal`](crate::Builder::journal).
    ///
    /// A fifth of the room is freed at a time, by one commit: inserts wait for one commit per so many keys. What is
    /// spilled has been put into batches; it comes back in order, as soon as there is room and the sink takes what is before
    /// it, and nothing that is pending is flushed before that, whatever its deadline. So a key's data keeps its order, and is in
    /// the hands of one callback at a time. While data is on disk, [`Stats::spilled`](crate::Stats::spilled) and
    /// [`spilled_bytes`](crate::Stats::spilled_bytes) say how much; `count`, `peek`, `contains`, `keys` and `remove`
    /// look at memory only; and a call that waits for a flush, of whatever keys, waits for everything that is on disk.
    ///
    /// Half of the room at most is for batches on their way to the sink, and they are smaller than
    /// [`max_batch_keys`](crate::Builder::max_batch_keys) if that is more than a thirty-second of
    /// [`max_keys`](crate::Builder::max_keys) (with four callbacks at once). The bound in memory holds; where the
    /// disk's is reached as well, it is exceeded by one batch at a time, so that what is on disk gets out.
    #[cfg(feature = "journal")]
    Spill {
        /// How many bytes of batches are on disk at most, without what the file needs besides. May be
        /// exceeded by what one commit writes, a fifth of the data in memory. Must not be zero.
        max_bytes: u64,
        /// How long to wait at most. Must not be zero.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        timeout: Duration,
    },
    /// **Drop the new item and return `Ok`**: it is given to
    /// [`DataBuffer::handle_shed`](crate::DataBuffer::handle_shed), which loses it unless you write another one.
    Shed,
}

impl Overflow {
    pub(crate) fn timeout(self) -> Option<Duration> {
        match self {
            Overflow::Block { timeout } | Overflow::FlushOldest { timeout } => Some(timeout),
            #[cfg(feature = "journal")]
            Overflow::Spill { timeout, .. } => Some(timeout),
            Overflow::Reject | Overflow::Shed => None,
        }
    }

    /// How many bytes may be on disk only, if any.
    pub(crate) fn max_spilled(self) -> Option<u64> {
        match self {
            #[cfg(feature = "journal")]
            Overflow::Spill { max_bytes, .. } => Some(max_bytes),
            _ => None,
        }
    }
}

/// All plain settings of a buffer, for a program that reads them from a file: give them to
/// [`Builder::from_settings`](crate::Builder::from_settings). Each is described at the builder's method of the same
/// name; `start` checks them all.
///
/// With the feature `serde` they can be read from any format. Fields that are not given keep their
/// defaults, unknown ones are refused, and times are written as `"5s"`, `"250ms"` or `"1h 30m"`.
///
/// ```
/// # #[cfg(feature = "serde")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use write_behind::{Builder, Settings, Sum, SummingBuffer};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let settings: Settings = toml::from_str(r#"
///     name = "page-views"
///     retry = { attempts = 20, cap = "10s" }
///     [schedule]
///     interval = "1s"
///     interval_at_count = [{ inserts = 100, interval = "250ms" }]
///     [bounds]
///     max_keys = 100000
///     overflow = { block = { timeout = "200ms" } }
/// "#)?;
/// let views: SummingBuffer<String, i64> = Builder::from_settings(settings).start(store)?;
/// # views.add("/home", 1)?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "serde"))]
/// # fn main() {}
/// ```
///
/// Or they are written by hand:
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Bounds, Overflow, Schedule, Settings};
///
/// let mut settings = Settings::default();
/// settings.name = "page-views".to_owned();
/// settings.schedule.interval = Duration::from_secs(1);
/// settings.bounds.overflow = Overflow::Block { timeout: Duration::from_millis(200) };
/// # assert_eq!((Schedule::default().jitter, Bounds::default().max_keys), (Duration::ZERO, 1_000_000));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Settings {
    /// [`Builder::name`](crate::Builder::name).
    pub name: String,
    /// When data is flushed.
    pub schedule: Schedule,
    /// How much is held, and what happens when that is reached.
    pub bounds: Bounds,
    /// How the sink is called.
    pub flushing: Flushing,
    /// How failed flushes are tried again: [`Builder::retry`](crate::Builder::retry).
    pub retry: RetryPolicy,
    /// [`Builder::partitions`](crate::Builder::partitions).
    pub partitions: usize,
    /// [`Builder::drop_timeout`](crate::Builder::drop_timeout).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub drop_timeout: Duration,
    /// [`Builder::seed`](crate::Builder::seed).
    pub seed: Option<u64>,
}

/// When data is flushed. Part of [`Settings`].
///
/// ```
/// use std::time::Duration;
/// use write_behind::{CountStep, Schedule};
///
/// let mut schedule = Schedule::default();
/// schedule.interval = Duration::from_secs(10);
/// schedule.interval_at_count.push(CountStep { inserts: 100, interval: Duration::from_secs(1) });
/// schedule.flush_at_count = Some(1_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Schedule {
    /// [`Builder::interval`](crate::Builder::interval).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
    /// [`Builder::jitter`](crate::Builder::jitter).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub jitter: Duration,
    /// [`Builder::interval_at_count`](crate::Builder::interval_at_count), in any order.
    pub interval_at_count: Vec<CountStep>,
    /// [`Builder::flush_at_count`](crate::Builder::flush_at_count).
    pub flush_at_count: Option<u32>,
    /// [`Builder::flush_all_at_count`](crate::Builder::flush_all_at_count).
    pub flush_all_at_count: Option<u64>,
    /// [`Builder::hibernate_after`](crate::Builder::hibernate_after).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub hibernate_after: Duration,
}

/// A shorter interval for busy keys. Part of [`Schedule`], which has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct CountStep {
    /// From so many inserts on.
    pub inserts: u32,
    /// How long a generation may stay then, counted from its first insert.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
}

/// How much a buffer holds, and what happens when that is reached. Part of [`Settings`].
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Bounds, Overflow};
///
/// let mut bounds = Bounds::default();
/// bounds.max_keys = 10_000;
/// bounds.overflow = Overflow::FlushOldest { timeout: Duration::from_millis(200) };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Bounds {
    /// [`Builder::max_keys`](crate::Builder::max_keys).
    pub max_keys: u64,
    /// [`Builder::max_weight`](crate::Builder::max_weight).
    pub max_weight: u64,
    /// [`Builder::overflow`](crate::Builder::overflow).
    pub overflow: Overflow,
}

/// How a sink is called. Part of [`Settings`].
///
/// ```
/// use std::time::Duration;
/// use write_behind::Flushing;
///
/// let mut flushing = Flushing::default();
/// flushing.concurrency = 16; // as many as the pool has connections
/// flushing.timeout = Duration::from_secs(10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Flushing {
    /// [`Builder::max_batch_keys`](crate::Builder::max_batch_keys).
    pub max_batch_keys: usize,
    /// [`Builder::flush_concurrency`](crate::Builder::flush_concurrency).
    pub concurrency: usize,
    /// [`Builder::flush_timeout`](crate::Builder::flush_timeout).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: "write-behind".to_owned(),
            schedule: Schedule::default(),
            bounds: Bounds::default(),
            flushing: Flushing::default(),
            retry: RetryPolicy::default(),
            partitions: 80,
            drop_timeout: Duration::from_secs(5),
            seed: None,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            interval_at_count: Vec::new(),
            flush_at_count: None,
            flush_all_at_count: None,
            hibernate_after: Duration::from_secs(10),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { max_keys: 1_000_000, max_weight: 10_000_000, overflow: Overflow::Reject }
    }
}

impl Default for Flushing {
    fn default() -> Self {
        Flushing { max_batch_keys: 1_000, concurrency: 4, timeout: Duration::from_secs(30) }
    }
}

impl Settings {
    /// Everything is checked here, once; later code relies on it.
    pub(crate) fn validate(&self, journaled: bool) -> Result<(), BuildError> {
        const MAX_PARTITIONS: usize = 65_536;
        let too_long = "is longer than the schedule's range of 12 days";
        let Settings { schedule, bounds, flushing, .. } = self;
        let rules = [
            (self.partitions == 0, "partitions", "must be at least 1"),
            (self.partitions > MAX_PARTITIONS, "partitions", "must be at most 65536"),
            (schedule.interval.is_zero(), "interval", "must not be zero"),
            (schedule.interval > MAX_DELAY, "interval", too_long),
            (
                schedule.interval.saturating_add(schedule.jitter) > MAX_DELAY,
                "jitter",
                "together with `interval` is longer than the schedule's range of 12 days",
            ),
            (schedule.hibernate_after > MAX_DELAY, "hibernate_after", too_long),
            (schedule.flush_at_count == Some(0), "flush_at_count", "must be at least 1"),
            (schedule.flush_all_at_count == Some(0), "flush_all_at_count", "must be at least 1"),
            (flushing.max_batch_keys == 0, "max_batch_keys", "must be at least 1"),
            (u32::try_from(flushing.max_batch_keys).is_err(), "max_batch_keys", "must be below 2^32"),
            (flushing.concurrency == 0, "flush_concurrency", "must be at least 1"),
            (flushing.concurrency > 1_024, "flush_concurrency", "must be at most 1024"),
            (flushing.timeout.is_zero(), "flush_timeout", "must not be zero"),
            (bounds.max_keys == 0, "max_keys", "must be at least 1"),
            (bounds.max_weight == 0, "max_weight", "must be at least 1"),
            (
                bounds.overflow.timeout().is_some_and(|timeout| timeout.is_zero()),
                "overflow",
                "needs a timeout that is not zero: waiting must have an end",
            ),
            (
                bounds.overflow.max_spilled() == Some(0),
                "overflow",
                "spills to disk, and allows it no byte there: `max_bytes` must not be zero",
            ),
            (
                bounds.overflow.max_spilled().is_some() && !journaled,
                "overflow",
                "spills to a journal, and there is none: give one with `Builder::journal`",
            ),
        ];
        if let Some((_, option, problem)) = rules.into_iter().find(|(broken, ..)| *broken) {
            return Err(BuildError::Invalid { option, problem });
        }
        if let Some(problem) = self.problem_with_steps() {
            return Err(BuildError::Invalid { option: "interval_at_count", problem });
        }
        match self.retry.problem() {
            Some(problem) => Err(BuildError::Invalid { option: "retry", problem }),
            None => Ok(()),
        }
    }

    fn problem_with_steps(&self) -> Option<&'static str> {
        let Timing { interval, steps, .. } = self.timing();
        let first = Step { inserts: 1, within: interval };
        let all: Vec<Step> = [first].into_iter().chain(steps).collect();
        let in_order = |pair: &[Step]| pair[0].inserts < pair[1].inserts && pair[0].within > pair[1].within;
        let any = |wrong: &dyn Fn(u32, Duration) -> bool| {
            self.schedule.interval_at_count.iter().any(|step| wrong(step.inserts, step.interval))
        };
        if self.schedule.interval_at_count.is_empty() {
            None
        } else if any(&|_, within| within.is_zero()) {
            Some("must not be zero: `flush_at_count` flushes at once")
        } else if any(&|inserts, _| inserts < 2) {
            Some("must be for at least 2 inserts: `interval` is for the first")
        } else if any(&|inserts, _| self.schedule.flush_at_count.is_some_and(|most| inserts >= most)) {
            Some("must be for fewer inserts than `flush_at_count`")
        } else if !all.windows(2).all(in_order) {
            Some("must be shorter than `interval`, and the shorter the more inserts it is for")
        } else {
            None
        }
    }

    /// The engine's view of what makes generations due.
    pub(crate) fn timing(&self) -> Timing {
        let step = |step: &CountStep| Step { inserts: step.inserts, within: step.interval };
        let mut steps: Vec<Step> = self.schedule.interval_at_count.iter().map(step).collect();
        steps.extend(self.schedule.flush_at_count.map(|inserts| Step { inserts, within: Duration::ZERO }));
        steps.sort_by_key(|step| (step.inserts, Reverse(step.within)));
        Timing { interval: self.schedule.interval, jitter: self.schedule.jitter, steps: steps.into() }
    }
}
