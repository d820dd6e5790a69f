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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Refuse at once with [`InsertErrorKind::Full`](crate::InsertErrorKind::Full). The default: it
    /// never makes a thread wait.
    Reject,
    /// Wait until there is room, up to `timeout`; then refuse with
    /// [`InsertErrorKind::TimedOut`](crate::InsertErrorKind::TimedOut).
    Block {
        /// How long to wait at most. Must not be zero.
        timeout: Duration,
    },
    /// As `Block`, and also flush a batch of the generations with the nearest deadlines right away
    /// to make room.
    FlushOldest {
        /// How long to wait at most. Must not be zero.
        timeout: Duration,
    },
    /// Give the new item to [`DataBuffer::handle_shed`](crate::DataBuffer::handle_shed) and return
    /// `Ok`.
    Shed,
}

impl Overflow {
    pub(crate) fn timeout(self) -> Option<Duration> {
        match self {
            Overflow::Block { timeout } | Overflow::FlushOldest { timeout } => Some(timeout),
            Overflow::Reject | Overflow::Shed => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) partitions: usize,
    pub(crate) interval: Duration,
    pub(crate) jitter: Duration,
    pub(crate) hibernate_after: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) flush_at_count: Option<u32>,
    /// In the order in which they were given.
    pub(crate) interval_at_count: Vec<(u32, Duration)>,
    pub(crate) flush_all_at_count: Option<u64>,
    pub(crate) max_batch_keys: usize,
    pub(crate) flush_concurrency: usize,
    pub(crate) flush_timeout: Duration,
    pub(crate) max_keys: u64,
    pub(crate) max_weight: u64,
    pub(crate) overflow: Overflow,
    pub(crate) drop_timeout: Duration,
    pub(crate) seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "write-behind".to_owned(),
            partitions: 80,
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            hibernate_after: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            flush_at_count: None,
            interval_at_count: Vec::new(),
            flush_all_at_count: None,
            max_batch_keys: 1_000,
            flush_concurrency: 4,
            flush_timeout: Duration::from_secs(30),
            max_keys: 1_000_000,
            max_weight: 10_000_000,
            overflow: Overflow::Reject,
            drop_timeout: Duration::from_secs(5),
            seed: None,
        }
    }
}

impl Config {
    /// Everything is checked here, once; later code relies on it.
    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        const MAX_PARTITIONS: usize = 65_536;
        let too_long = "is longer than the schedule's range of 12 days";
        let rules = [
            (self.name.contains('\0'), "name", "must not contain a null character"),
            (self.partitions == 0, "partitions", "must be at least 1"),
            (self.partitions > MAX_PARTITIONS, "partitions", "must be at most 65536"),
            (self.interval.is_zero(), "interval", "must not be zero"),
            (self.interval > MAX_DELAY, "interval", too_long),
            (
                self.interval.saturating_add(self.jitter) > MAX_DELAY,
                "jitter",
                "together with `interval` is longer than the schedule's range of 12 days",
            ),
            (self.hibernate_after > MAX_DELAY, "hibernate_after", too_long),
            (self.flush_at_count == Some(0), "flush_at_count", "must be at least 1"),
            (self.flush_all_at_count == Some(0), "flush_all_at_count", "must be at least 1"),
            (self.max_batch_keys == 0, "max_batch_keys", "must be at least 1"),
            (u32::try_from(self.max_batch_keys).is_err(), "max_batch_keys", "must be below 2^32"),
            (self.flush_concurrency == 0, "flush_concurrency", "must be at least 1"),
            (self.flush_concurrency > 1_024, "flush_concurrency", "must be at most 1024"),
            (self.flush_timeout.is_zero(), "flush_timeout", "must not be zero"),
            (self.max_keys == 0, "max_keys", "must be at least 1"),
            (self.max_weight == 0, "max_weight", "must be at least 1"),
            (
                self.overflow.timeout().is_some_and(|timeout| timeout.is_zero()),
                "overflow",
                "needs a timeout that is not zero: waiting must have an end",
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
            self.interval_at_count.iter().any(|step| wrong(step.0, step.1))
        };
        if self.interval_at_count.is_empty() {
            None
        } else if any(&|_, within| within.is_zero()) {
            Some("must not be zero: `flush_at_count` flushes at once")
        } else if any(&|inserts, _| inserts < 2) {
            Some("must be for at least 2 inserts: `interval` is for the first")
        } else if any(&|inserts, _| self.flush_at_count.is_some_and(|most| inserts >= most)) {
            Some("must be for fewer inserts than `flush_at_count`")
        } else if !all.windows(2).all(in_order) {
            Some("must be shorter than `interval`, and the shorter the more inserts it is for")
        } else {
            None
        }
    }

    /// The engine's view of what makes generations due.
    pub(crate) fn timing(&self) -> Timing {
        let step = |&(inserts, within)| Step { inserts, within };
        let mut steps: Vec<Step> = self.interval_at_count.iter().map(step).collect();
        steps.extend(self.flush_at_count.map(|inserts| Step { inserts, within: Duration::ZERO }));
        steps.sort_by_key(|step| (step.inserts, Reverse(step.within)));
        Timing { interval: self.interval, jitter: self.jitter, steps: steps.into() }
    }
}
