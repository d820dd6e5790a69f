//! Whether settings make sense, and what the engine makes of them.

use std::cmp::Reverse;
use std::time::Duration;

use super::{CountStep, Schedule, Settings};
use crate::engine::shard::{Step, Timing};
use crate::engine::tick::MAX_DELAY;
use crate::error::BuildError;

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
            (schedule.linger > schedule.interval, "linger", "must not be longer than `interval`"),
            (
                schedule.interval.saturating_add(schedule.jitter).saturating_add(schedule.linger) > MAX_DELAY,
                "linger",
                "together with `interval` and `jitter` is longer than the schedule's range of 12 days",
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
        let Schedule { interval, jitter, linger, .. } = self.schedule;
        Timing { interval, jitter, linger, steps: steps.into() }
    }
}
