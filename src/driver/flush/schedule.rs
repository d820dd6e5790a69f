//! One schedule for everything: deadlines, retries, flush timeouts, the end of draining and
//! hibernation. `step` looks at all of them and says what to dispatch and when to come again.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::{Held, SchedulerState};
use crate::aggregate::Aggregate;
use crate::batch::Content;
use crate::driver::core::Core;
use crate::driver::intake::HOLD;
use crate::driver::journal::Records;
use crate::driver::sync::Ordering;
use crate::driver::wait::life::Phase;
use crate::engine::flights::Flights;
use crate::engine::sequence::Sequence;
use crate::engine::shard::Numbering;
use crate::engine::tick::{self, Tick};
use crate::engine::timers::Expired;
use crate::key::Key;

/// What a step asks its driver to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// How many workers are to begin.
    pub(crate) workers: usize,
    /// Batches whose callbacks have been running for longer than `flush_timeout`.
    pub(crate) overdue: Vec<Sequence>,
    /// When to take the next step; `None`: only when the bell rings.
    pub(crate) next: Option<Tick>,
    /// Let the workers go.
    pub(crate) rest: bool,
    /// Room was given back.
    pub(crate) freed: bool,
    /// The buffer is closed: this was the last step.
    pub(crate) closed: bool,
    /// What observers are to be told when no lock is held any more.
    pub(crate) turn: Option<Turn>,
    /// Observers are to be told the statistics.
    pub(crate) measure: bool,
}

/// Where batches go that are put together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    ToSink,
    /// There is no room for them in memory.
    ToDisk,
}

impl Way {
    fn launch<K, V>(self, flights: &mut Flights<Held<K, V>>, sequence: Sequence, batch: Held<K, V>) {
        match self {
            Way::ToSink => flights.launch(sequence, batch),
            Way::ToDisk => {
                let need = batch.need();
                flights.spill(sequence, batch, need);
            }
        }
    }
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
    /// Does all that is due now, and sees to it that workers have something to do.
    pub(crate) fn step(&self) -> Plan {
        let mut state = self.dispatch.scheduler.lock();
        let now = self.clock.now();
        let phase = self.life.phase();
        if phase >= Phase::Closed {
            return Plan { closed: true, ..Plan::default() };
        }
        let overdue = self.dispatch.flights.lock().expire(now);
        let survey = self.survey(&mut state, tick::floor(now));
        self.fetch(&mut state, survey.due);
        self.spill(&mut state);
        let idle = survey.empty && self.dispatch.flights.lock().is_idle();
        let drained_at = self.life.deadline().filter(|_| phase == Phase::Draining);
        let closed = phase == Phase::Draining && (idle || drained_at.is_some_and(|deadline| deadline <= now));
        let mut step = Plan { closed, next: survey.next, ..Plan::default() };
        if !closed {
            // Whoever is engaged has to be told so, and after the last step nobody is.
            step.workers = self.dispatch.flights.lock().engage(self.settings.flushing.concurrency);
        }
        let hibernate_at = self.rest(&mut state, idle, now, &mut step);
        let measure_at = self.measure(&mut state, idle, now, &mut step);
        let next_flight = self.dispatch.flights.lock().next_tick();
        let ends = [step.next, next_flight, hibernate_at, measure_at, drained_at.map(tick::ceil)];
        step.next = ends.into_iter().flatten().min();
        drop(state);
        if step.freed {
            self.intake.wake_all();
        }
        for (sequence, running) in overdue {
            self.counters.overdue.fetch_add(1, Ordering::Relaxed);
            let batch = self.batch_id(sequence);
            self.callbacks.observe(|observer| observer.overdue(&self.settings.name, batch, running));
            step.overdue.push(sequence);
        }
        if let Some(turn) = step.turn {
            self.tell_turn(turn);
        }
        if step.measure {
            let stats = self.stats();
            self.callbacks.observe(|observer| observer.measured(&self.settings.name, &stats));
        }
        if step.closed {
            self.finish_draining();
        }
        step
    }

    /// Has statistics told as often as observers want, and at turns. Says when that is next.
    fn measure(
        &self,
        state: &mut SchedulerState<K, V>,
        idle: bool,
        now: Duration,
        step: &mut Plan,
    ) -> Option<Tick> {
        let every = self.callbacks.measure_every()?;
        if now >= state.measured_at + every || step.turn.is_some() || step.closed {
            state.measured_at = now;
            step.measure = true;
        }
        // Without anything to do nothing changes and nothing wakes up, once what changed last has been told.
        let untold = state.idle_since.is_some_and(|since| state.measured_at < since);
        (!idle || untold).then(|| tick::ceil(state.measured_at + every))
    }

    /// How many timers one step expires at most, about: what is handed out first need not wait for
    /// all, and a runtime gets its thread back.
    const SURVEY: usize = 16_384;

    /// Queues what is due in every partition; after [`Self::SURVEY`] timers it has to be called again.
    fn survey(&self, state: &mut SchedulerState<K, V>, now: Tick) -> Survey {
        let mut survey = Survey { next: None, empty: true, due: false };
        let mut left = Self::SURVEY;
        for _ in 0..self.intake.partitions() {
            while let Some(mut shard) = self.intake.look(state.surveyed) {
                let expired = shard.expire(now, HOLD);
                if let Expired::Until(next) = expired {
                    survey.next = [survey.next, next].into_iter().flatten().min();
                    survey.empty &= shard.is_empty();
                    survey.due |= shard.has_due();
                    break;
                }
                left = left.saturating_sub(HOLD);
                if left == 0 {
                    return Survey { next: Some(now), empty: false, due: true };
                }
            }
            state.surveyed = (state.surveyed + 1) % self.intake.partitions();
        }
        survey
    }

    /// How many batches wait ready-made at most, so that workers need not wait for the scheduler. Those of
    /// single keys are smaller, so they are more.
    pub(super) fn lookahead(&self) -> usize {
        let each = if self.callbacks.takes_batches() { 1 } else { 16 };
        each * self.settings.flushing.concurrency
    }

    /// Whether the scheduler should look for more, now that so many are left. For single keys not each
    /// time.
    pub(super) fn is_time_to_fetch(&self, left: usize) -> bool {
        let most = self.lookahead();
        if self.callbacks.takes_batches() { left < most } else { left == 0 || left == most / 2 }
    }

    /// Makes batches of what is due, as long as few are waiting. Older ones that are on disk go first.
    fn fetch(&self, state: &mut SchedulerState<K, V>, mut due: bool) {
        let (paused, stands_back) = {
            let flights = self.dispatch.flights.lock();
            (flights.is_paused(), flights.stands_back())
        };
        if paused {
            return;
        }
        if stands_back {
            return self.want_loaded();
        }
        while due {
            let room = self.room_for_batches();
            if room == 0 {
                return;
            }
            due = self.assemble(state, room, Way::ToSink);
        }
    }

    /// How many more batches there is use for.
    fn room_for_batches(&self) -> usize {
        let flights = self.dispatch.flights.lock();
        let fresh = self.lookahead().saturating_sub(flights.fresh());
        if self.settings.bounds.overflow.max_spilled().is_none() {
            return fresh;
        }
        fresh.min(self.more_in_motion(&flights))
    }

    /// Puts a batch of what is due together, or batches of single keys as far as there is `room`, and
    /// sends them on their way. False if nothing is due.
    pub(super) fn assemble(&self, state: &mut SchedulerState<K, V>, room: usize, way: Way) -> bool {
        let mut records = self.dispatch.assembly.lock();
        let together = self.callbacks.takes_batches();
        let (most, batches) = if together { (self.most_batch_keys(), 1) } else { (room, room) };
        let first = self.dispatch.flights.lock().reserve(batches);
        let numbering = if together { Numbering::Together(first) } else { Numbering::Apart(first) };
        self.take_due(state, most, numbering, &mut records);
        let entries = &mut state.taken;
        let mut flights = self.dispatch.flights.lock();
        if entries.is_empty() {
            flights.unreserve(first);
            return false;
        }
        let content = |sequence, entries| Arc::new(Content { id: self.batch_id(sequence), entries });
        if together {
            // An allocation of just the right size, which never grows.
            let mut exactly = Vec::with_capacity(entries.len());
            exactly.append(entries);
            let batch = content(first, exactly);
            records.note_taken(&batch);
            way.launch(&mut flights, first, batch);
        } else {
            let end = first.after(entries.len());
            flights.unreserve(end);
            for (sequence, entry) in first.until(end).zip(entries.drain(..)) {
                let batch = content(sequence, vec![entry]);
                records.note_taken(&batch);
                way.launch(&mut flights, sequence, batch);
            }
        }
        drop(flights);
        self.want_records(records);
        true
    }

    /// Takes what is due: a little from each partition in turn, so that holds are short and all of them
    /// get older together.
    fn take_due(
        &self,
        state: &mut SchedulerState<K, V>,
        most: usize,
        numbering: Numbering,
        records: &mut Records<K, V>,
    ) {
        let now = self.now_tick();
        let entries = &mut state.taken;
        let share = (most / self.intake.partitions()).clamp(16, HOLD);
        let mut dry = 0;
        while entries.len() < most && dry < self.intake.partitions() {
            let limit = share.min(most - entries.len());
            let before = entries.len();
            let more = self.intake.look(state.cursor).is_some_and(|mut shard| {
                let more = shard.take(now, limit, numbering, entries);
                self.intake.release_from(&mut shard);
                more
            });
            if records.is_on() {
                entries[before..].iter().for_each(|entry| records.note_gone(&entry.key));
                let shard = self.intake.look(state.cursor);
                shard.into_iter().for_each(|mut shard| shard.show_rests(&mut records.visit()));
            }
            dry = if more { 0 } else { dry + 1 };
            state.cursor = (state.cursor + 1) % self.intake.partitions();
        }
    }

    /// Goes to rest after `hibernate_after` without anything to do, and notices when that is over.
    /// Says when rest would begin.
    fn rest(
        &self,
        state: &mut SchedulerState<K, V>,
        idle: bool,
        now: Duration,
        step: &mut Plan,
    ) -> Option<Tick> {
        if !idle {
            state.idle_since = None;
            if self.dispatch.hibernating.swap(false, Ordering::Relaxed) {
                step.turn = Some(Turn::Woke);
            }
            return None;
        }
        if self.dispatch.hibernating.load(Ordering::Relaxed) {
            return None;
        }
        let since = *state.idle_since.get_or_insert(now);
        let rest_at = tick::ceil(since.saturating_add(self.settings.schedule.hibernate_after));
        if rest_at > tick::floor(now) {
            return Some(rest_at);
        }
        step.freed |= self.intake.rest();
        state.taken = Vec::new();
        self.dispatch.hibernating.store(true, Ordering::Relaxed);
        step.rest = true;
        step.turn = Some(Turn::Hibernated);
        None
    }

    /// No callback begins any more until it is told otherwise, or the buffer shuts down.
    pub(crate) fn pause(&self, paused: bool) {
        {
            let mut flights = self.dispatch.flights.lock();
            // Whoever shuts down says so first, and ends the pause under this lock then.
            flights.pause(paused && self.life.phase() == Phase::Open);
        }
        self.dispatch.doorbell.ring();
    }

    fn tell_turn(&self, turn: Turn) {
        self.callbacks.observe(|observer| match turn {
            Turn::Hibernated => observer.hibernated(&self.settings.name),
            Turn::Woke => observer.woke(&self.settings.name),
        });
    }
}
