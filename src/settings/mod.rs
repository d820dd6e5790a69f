//! The settings of a buffer, as plain data.

mod check;

use std::time::Duration;

use crate::engine::retry::RetryPolicy;

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
    /// [`Builder::linger`](crate::Builder::linger).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub linger: Duration,
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
            linger: Duration::ZERO,
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
