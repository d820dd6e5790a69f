//! The batches that have been taken and not yet settled. One stage each; retries and flush timeouts
//! are on one agenda.

mod answers;
mod kept;
mod ready;
mod recorded;
mod spilled;
mod stranded;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sequence::Sequence;
use super::shard::Need;
use super::tick::{self, Tick};
use crate::failure::{Effect, FailureCause};

pub(crate) use recorded::{Recorded, Standing};
pub(crate) use spilled::{FromDisk, OnDisk};
pub(crate) use stranded::Stranded;

use answers::Answers;
use ready::{Queue, Ready};
use spilled::Spilled;

/// What a batch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its id is reserved, its entries are being taken. To `Ready`.
    Assembling,
    /// Waits for a journal to know it. To `Ready`.
    Unrecorded(Queue),
    /// Waits for a journal to know it. Then it is there only, gives back its room, and is no flight any more until it
    /// is loaded.
    Spilling(Need),
    /// Waits in a queue for a worker. To `Running`.
    Ready,
    /// A callback works on it. To `Failed` or `Settling`.
    Running { since: Duration, overdue_at: Option<Tick> },
    /// Its attempt failed, the next one waits for its time. To `Ready`.
    Backoff { until: Tick },
    /// The callback is back with a failure that has not been acted upon. To `Backoff` or `Settling`.
    Failed,
    /// Its result is being carried out. Gone after that, or to `Kept` or `Backoff`.
    Settling,
    /// Undelivered: given up, and kept. To `Settling` when it is offered again, which only a batch is
    /// that is still `whole` or was never applied.
    Kept { whole: bool },
}

/// Whether the journal has a batch as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// Not yet. To `Writing`.
    Noted,
    /// It is just being written. To `Done`, or back to `Noted` if the batch changes meanwhile.
    Writing,
    /// It has, or there is no journal.
    Done,
}

/// A batch in flight; `B` is how the driver holds its content.
#[derive(Debug)]
struct Flight<B> {
    batch: Option<B>,
    attempts: u32,
    cause: Option<FailureCause>,
    /// An attempt may have been applied: only the identical content may be sent again.
    frozen: bool,
    record: Record,
    /// The next thing is not an attempt: it is to be given up.
    doomed: bool,
    /// It was given up in an earlier life, and that life's `handle_error` may have dealt with it.
    handed_over: bool,
    /// Others have got what was in it, the sink or other batches: a fresh file of a journal must not have it.
    over: bool,
    /// The batch that was on disk only and is this one, or became this one and others.
    origin: Option<Sequence>,
    stage: Stage,
}

/// An attempt that begins.
#[derive(Debug)]
pub(crate) struct Started<B> {
    pub(crate) batch: B,
    /// From 1.
    pub(crate) attempt: u32,
    /// Every earlier one is settled for good.
    pub(crate) settled_below: Sequence,
    /// No attempt: it is to be given up.
    pub(crate) doomed: Option<Past>,
}

/// What is known of a batch whose attempt has failed.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) attempts: u32,
    pub(crate) cause: FailureCause,
    pub(crate) frozen: bool,
}

#[derive(Debug)]
pub(crate) struct Flights<B> {
    live: BTreeMap<Sequence, Flight<B>>,
    /// When a backoff or a flush timeout ends.
    agenda: BTreeSet<(Tick, Sequence)>,
    ready: Ready,
    answers: Answers,
    next_sequence: Sequence,
    /// A journal has to know a batch before an attempt is made.
    journaled: bool,
    /// How many fresh ones wait for that.
    waiting: usize,
    /// Over, but not in the journal.
    ended: BTreeSet<Sequence>,
    spilled: Spilled,
    /// How many of them are kept.
    kept: usize,
    /// Workers that make one attempt after the other as long as there are any.
    active: usize,
    /// No attempt begins.
    paused: bool,
}

impl<B: Clone> Flights<B> {
    pub(crate) fn new(journaled: bool) -> Self {
        Flights {
            live: BTreeMap::new(),
            agenda: BTreeSet::new(),
            ready: Ready::default(),
            answers: Answers::default(),
            next_sequence: Sequence::FIRST,
            journaled,
            waiting: 0,
            ended: BTreeSet::new(),
            spilled: Spilled::default(),
            kept: 0,
            active: 0,
            paused: false,
        }
    }

    /// From now on no attempt begins, or they do again.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether nothing is in flight, or on disk only, but what is kept as undelivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.live.len() == self.kept && self.spilled.is_empty()
    }

    /// How many batches are in flight and not kept as undelivered.
    pub(crate) fn in_motion(&self) -> usize {
        self.live.len() - self.kept
    }

    /// How many workers are busy, or are about to be.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// When something on the agenda is next to be done.
    pub(crate) fn next_tick(&self) -> Option<Tick> {
        self.agenda.first().map(|&(tick, _)| tick)
    }

    /// So many new batches, still without entries: their first sequence.
    pub(crate) fn reserve(&mut self, batches: usize) -> Sequence {
        let first = self.next_sequence;
        self.next_sequence = first.after(batches);
        let record = self.unrecorded();
        let flights = first.until(self.next_sequence).map(|sequence| (sequence, Flight::new(record)));
        self.live.extend(flights);
        first
    }

    /// The reserved batch has got its entries and waits for a worker.
    pub(crate) fn launch(&mut self, sequence: Sequence, batch: B) {
        self.flight(sequence).batch = Some(batch);
        self.make_ready(sequence, Queue::Fresh);
    }

    /// The batch is to be sent as soon as a worker is free, and the journal has it.
    fn make_ready(&mut self, sequence: Sequence, queue: Queue) {
        let flight = self.flight(sequence);
        if flight.record == Record::Done {
            flight.stage = Stage::Ready;
            self.ready.push(sequence, queue);
        } else {
            flight.stage = Stage::Unrecorded(queue);
            self.waiting += usize::from(queue == Queue::Fresh);
        }
    }

    /// How many batches wait for their first attempt.
    pub(crate) fn fresh(&self) -> usize {
        self.ready.fresh() + self.waiting
    }

    /// How many more workers there is work for, `most` in all. They are counted as active from here on:
    /// each has to call [`start_next`](Self::start_next) until that returns `None`.
    pub(crate) fn engage(&mut self, most: usize) -> usize {
        let most = if self.paused { 0 } else { most };
        let more = self.ready.len().min(most.saturating_sub(self.active));
        self.active += more;
        more
    }

    /// A worker is no longer active.
    pub(crate) fn dismiss(&mut self) {
        self.active -= 1;
    }

    /// A worker begins its next attempt. `None` if there is none: the worker is dismissed.
    pub(crate) fn start_next(&mut self, now: Duration, timeout: Duration) -> Option<Started<B>> {
        let next = if self.paused { None } else { self.ready.pop() };
        let Some(sequence) = next else {
            self.dismiss();
            return None;
        };
        let settled_below = self.settled_below();
        if let Some(job) = self.start_giving_up(sequence, settled_below) {
            return Some(job);
        }
        let overdue_at = tick::ceil(now.saturating_add(timeout));
        self.agenda.insert((overdue_at, sequence));
        let flight = self.flight(sequence);
        flight.attempts += 1;
        flight.stage = Stage::Running { since: now, overdue_at: Some(overdue_at) };
        let batch = flight.batch.clone().unwrap_or_else(|| unreachable!("what is ready has its content"));
        Some(Started { batch, attempt: flight.attempts, settled_below, doomed: None })
    }

    /// The callback is back, with a failure, of which it says what that means for the batch, or without.
    /// False if shutdown has taken the batch meanwhile.
    pub(crate) fn landed(&mut self, sequence: Sequence, failed: Option<(Effect, FailureCause)>) -> bool {
        let Some(flight) = self.live.get_mut(&sequence) else { return false };
        if let Stage::Running { overdue_at: Some(tick), .. } = flight.stage {
            self.agenda.remove(&(tick, sequence));
        }
        let Some((effect, cause)) = failed else {
            flight.stage = Stage::Settling;
            return true;
        };
        flight.stage = Stage::Failed;
        flight.cause = Some(cause);
        flight.frozen = effect.may_be_applied(flight.frozen);
        true
    }

    /// Whether an attempt of the batch may have been applied.
    pub(crate) fn is_frozen(&self, sequence: Sequence) -> bool {
        self.live.get(&sequence).is_some_and(|flight| flight.frozen)
    }

    /// The batch is to be sent again at `until`, unless shutdown has taken it meanwhile.
    pub(crate) fn back_off(&mut self, sequence: Sequence, until: Tick) {
        let Some(flight) = self.live.get_mut(&sequence) else { return };
        flight.stage = Stage::Backoff { until };
        self.agenda.insert((until, sequence));
    }

    /// A new batch has got its content, a part of `whole`, and its past.
    pub(crate) fn be_part(&mut self, whole: Sequence, sequence: Sequence, batch: B, past: Past) {
        let origin = self.origin(whole);
        self.spilled.count_in(origin);
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.origin = origin;
        flight.attempts = past.attempts;
        flight.cause = Some(past.cause);
        flight.frozen = past.frozen;
    }

    /// The batch is settled or split. Returns the content that it still had, to be dropped elsewhere, and which batch
    /// that was on disk only is over with it.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> (Option<B>, Option<Sequence>) {
        let Some(flight) = self.live.remove(&sequence) else { return (None, None) };
        if self.journaled {
            self.ended.insert(sequence);
        }
        (flight.batch, self.spilled.count_out(flight.origin))
    }

    /// Takes back the batches that were reserved last, from this one on, and have got no entries.
    pub(crate) fn unreserve(&mut self, from: Sequence) {
        from.until(self.next_sequence).for_each(|sequence| drop(self.live.remove(&sequence)));
        self.next_sequence = from;
    }

    /// Takes the content out of a batch whose failure is being acted upon. `None` if shutdown has
    /// taken the batch meanwhile.
    pub(crate) fn take_content(&mut self, sequence: Sequence) -> Option<B> {
        let flight = self.live.get_mut(&sequence)?;
        if let Stage::Kept { .. } = std::mem::replace(&mut flight.stage, Stage::Settling) {
            self.kept -= 1;
        }
        flight.batch.take()
    }

    /// A batch that was given up gets its content back, and fresh attempts from `until` on.
    pub(crate) fn requeue(&mut self, sequence: Sequence, batch: B, until: Tick) {
        let record = self.unrecorded();
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.attempts = 0;
        flight.frozen = true;
        flight.record = record;
        flight.handed_over = false;
        flight.stage = Stage::Backoff { until };
        self.agenda.insert((until, sequence));
    }

    /// The content of a batch.
    pub(crate) fn content(&self, sequence: Sequence) -> Presence<B> {
        match self.live.get(&sequence) {
            None => Presence::Gone,
            Some(flight) => flight.batch.clone().map_or(Presence::InTransit, Presence::Here),
        }
    }

    /// Readies what has waited long enough; returns the batches whose callbacks have become
    /// overdue, with how long they have been running.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<(Sequence, Duration)> {
        let mut overdue = Vec::new();
        while let Some(&(tick, sequence)) = self.agenda.first() {
            if tick > tick::floor(now) {
                break;
            }
            self.agenda.pop_first();
            let flight = self.flight(sequence);
            match flight.stage {
                Stage::Backoff { .. } => self.make_ready(sequence, Queue::Retries),
                Stage::Running { since, .. } => {
                    flight.stage = Stage::Running { since, overdue_at: None };
                    overdue.push((sequence, now.saturating_sub(since)));
                }
                Stage::Assembling
                | Stage::Unrecorded(_)
                | Stage::Spilling(_)
                | Stage::Ready
                | Stage::Failed
                | Stage::Settling
                | Stage::Kept { .. } => {}
            }
        }
        overdue
    }

    /// The batches that are in flight.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = Sequence> {
        self.live.keys().copied()
    }

    fn unrecorded(&self) -> Record {
        if self.journaled { Record::Noted } else { Record::Done }
    }

    fn settled_below(&self) -> Sequence {
        let (live, ended) = (self.live.keys().next().copied(), self.ended.first().copied());
        [live, ended, self.spilled.first()].into_iter().flatten().min().unwrap_or(self.next_sequence)
    }

    fn flight(&mut self, sequence: Sequence) -> &mut Flight<B> {
        self.live
            .get_mut(&sequence)
            .unwrap_or_else(|| unreachable!("batch {} is in flight", sequence.number()))
    }
}

impl<B> Flight<B> {
    fn new(record: Record) -> Self {
        let (attempts, cause, frozen) = (0, None, false);
        let (doomed, handed_over, over) = (false, false, false);
        let (origin, stage) = (None, Stage::Assembling);
        Flight { batch: None, attempts, cause, frozen, record, doomed, handed_over, over, origin, stage }
    }
}

/// What is to be seen of a batch.
#[derive(Debug)]
pub(crate) enum Presence<B> {
    /// It is no longer in flight.
    Gone,
    /// It has no content at this moment: it is being assembled or taken apart.
    InTransit,
    Here(B),
}
