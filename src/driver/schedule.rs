//! One schedule for everything: deadlines, retries, flush timeouts, the end of draining and
//! hibernation. `step` looks at all of them and says what to dispatch and when to come again.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::core::{Core, Key};
use super::life::Phase;
use super::pulse::Pulse;
use super::sync::Ordering;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, Content};
use crate::engine::tick::{self, Tick};
use crate::engine::timers::Expired;

/// What a step asks its driver to do.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Batches to hand to the workers.
    pub(crate) jobs: Vec<u64>,
    /// Batches whose callbacks have been running for longer than `flush_timeout`.
    pub(crate) overdue: Vec<u64>,
    /// When to take the next step; `None`: only when the bell rings.
    pub(crate) next: Option<Tick>,
    /// Let the workers go.
    pub(crate) rest: bool,
    /// The buffer is closed: this was the last step.
    pub(crate) closed: bool,
    /// What observers are to be told when no lock is held any more.
    pub(crate) turn: Option<Turn>,
}

/// A turn in a buffer's rest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    Hibernated,
    Woke,
}

/// What a look at all partitions found.
struct Survey {
    next: Option<Tick>,
    empty: bool,
    due: bool,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Does all that is due now, and hands out work while fewer than `flush_threads` batches wait
    /// for a worker and as many are being worked on.
    pub(crate) fn step(&self) -> Step {
        let mut pulse = self.pulse.lock();
        let now = self.clock.now();
        let phase = self.life.phase();
        if phase == Phase::Closed {
            return Step { closed: true, ..Step::default() };
        }
        let overdue = self.flights.lock().expire(now);
        let survey = self.survey(&mut pulse, tick::floor(now));
        let jobs = self.dispatch(&mut pulse, survey.due);
        let idle = survey.empty && self.flights.lock().is_empty();
        let mut step = Step { jobs, next: survey.next, ..Step::default() };
        let hibernate_at = self.rest(&mut pulse, idle, now, &mut step);
        let next_flight = self.flights.lock().next_tick();
        let mut drained_at = None;
        if phase == Phase::Draining {
            drained_at = self.life.deadline();
            step.closed = idle || drained_at.is_some_and(|deadline| deadline <= now);
        }
        step.next =
            [step.next, next_flight, hibernate_at, drained_at.map(tick::ceil)].into_iter().flatten().min();
        drop(pulse);
        for (sequence, running) in overdue {
            self.counters.overdue.fetch_add(1, Ordering::Relaxed);
            let batch = self.batch_id(sequence);
            self.callbacks.observe(|observer| observer.overdue(&self.config.name, batch, running));
            step.overdue.push(sequence);
        }
        match step.turn {
            Some(Turn::Hibernated) => {
                self.callbacks.observe(|observer| observer.hibernated(&self.config.name))
            }
            Some(Turn::Woke) => self.callbacks.observe(|observer| observer.woke(&self.config.name)),
            None => {}
        }
        if step.closed {
            self.finish_draining();
        }
        step
    }

    /// How many timers one step expires at most, about: what is handed out first need not wait for
    /// all, and a runtime gets its thread back.
    const SURVEY: usize = 16_384;

    pub(crate) fn batch_id(&self, sequence: u64) -> BatchId {
        BatchId { instance: self.instance, sequence }
    }

    /// Queues what is due in every partition; after [`Self::SURVEY`] timers it has to be called again.
    fn survey(&self, pulse: &mut Pulse<K, V>, now: Tick) -> Survey {
        let mut survey = Survey { next: None, empty: true, due: false };
        let mut left = Self::SURVEY;
        for _ in 0..self.partitions() {
            loop {
                let mut shard = self.shard(pulse.surveyed);
                let expired = shard.expire(now, Self::HOLD);
                if let Expired::Until(next) = expired {
                    survey.next = [survey.next, next].into_iter().flatten().min();
                    survey.empty &= shard.is_empty();
                    survey.due |= shard.has_due();
                    break;
                }
                left = left.saturating_sub(Self::HOLD);
                if left == 0 {
                    return Survey { next: Some(now), empty: false, due: true };
                }
            }
            pulse.surveyed = (pulse.surveyed + 1) % self.partitions();
        }
        survey
    }

    /// Decides what the workers do next: retries and new batches take turns.
    fn dispatch(&self, pulse: &mut Pulse<K, V>, mut due: bool) -> Vec<u64> {
        let mut jobs = Vec::new();
        loop {
            let mut flights = self.flights.lock();
            if flights.running() >= 2 * self.config.flush_threads {
                return jobs;
            }
            if flights.has_ready() && (pulse.retry_first || !due) {
                jobs.extend(flights.dispatch_next());
                pulse.retry_first = false;
                continue;
            }
            drop(flights);
            pulse.retry_first = true;
            if due {
                due = self.assemble(pulse);
                continue;
            }
            if !self.flights.lock().has_ready() {
                return jobs;
            }
        }
    }

    /// Puts a batch of what is due together and readies it. False if nothing is due.
    fn assemble(&self, pulse: &mut Pulse<K, V>) -> bool {
        let _assembly = self.assembly.lock();
        let sequence = self.flights.lock().reserve();
        let now = self.now_tick();
        let entries = &mut pulse.taken;
        let most = self.config.max_batch_keys;
        // A little from each partition in turn: short holds, and all of them get older together.
        let share = (most / self.partitions()).clamp(16, Self::HOLD);
        let mut dry = 0;
        while entries.len() < most && dry < self.partitions() {
            let limit = share.min(most - entries.len());
            let mut shard = self.shard(pulse.cursor);
            let more = shard.take(now, limit, sequence, entries);
            self.release_from(&mut shard);
            drop(shard);
            dry = if more { 0 } else { dry + 1 };
            pulse.cursor = (pulse.cursor + 1) % self.partitions();
        }
        let mut flights = self.flights.lock();
        if entries.is_empty() {
            flights.remove(sequence);
            return false;
        }
        // An allocation of just the right size, which never grows.
        let mut exactly = Vec::with_capacity(entries.len());
        exactly.append(entries);
        flights.launch(sequence, Arc::new(Content { id: self.batch_id(sequence), entries: exactly }));
        true
    }

    /// Goes to rest after `hibernate_after` without anything to do, and notices when that is over.
    /// Says when rest would begin.
    fn rest(&self, pulse: &mut Pulse<K, V>, idle: bool, now: Duration, step: &mut Step) -> Option<Tick> {
        if !idle {
            pulse.idle_since = None;
            if self.hibernating.swap(false, Ordering::Relaxed) {
                step.turn = Some(Turn::Woke);
            }
            return None;
        }
        if self.hibernating.load(Ordering::Relaxed) {
            return None;
        }
        let since = *pulse.idle_since.get_or_insert(now);
        let rest_at = tick::ceil(since.saturating_add(self.config.hibernate_after));
        if rest_at > tick::floor(now) {
            return Some(rest_at);
        }
        self.shards().for_each(|shard| {
            let unused = {
                let mut shard = shard.lock();
                shard.shrink();
                self.recall_from(&mut shard)
            };
            self.wake_for(unused);
        });
        pulse.taken = Vec::new();
        self.hibernating.store(true, Ordering::Relaxed);
        step.rest = true;
        step.turn = Some(Turn::Hibernated);
        None
    }

    /// A uniformly random number in 0..1, for backoff jitter.
    pub(crate) fn chance(&self) -> f64 {
        self.pulse.lock().random.random()
    }
}
