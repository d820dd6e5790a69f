//! The batches that have been taken and not yet settled. One stage each; retries and flush timeouts
//! are on one agenda.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::tick::{self, Tick};
use crate::failure::{FlushFailure, Outcome};

/// What a batch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its id is reserved, its entries are being taken. To `Ready`.
    Assembling,
    /// Waits for capacity. To `Dispatched`.
    Ready,
    /// Waits for a worker to pick it up. To `Running`.
    Dispatched,
    /// A callback works on it. To `Failed` or `Settling`.
    Running { since: Duration, overdue_at: Option<Tick> },
    /// Its attempt failed, the next one waits for its time. To `Ready`.
    Backoff { until: Tick },
    /// The callback is back with a failure that has not been acted upon. To `Backoff` or `Settling`.
    Failed,
    /// Its result is being carried out, and no part of it will be sent again under this id. Gone
    /// after that.
    Settling,
}

/// A batch in flight; `B` is how the driver holds its content.
#[derive(Debug)]
struct Flight<B> {
    batch: Option<B>,
    attempts: u32,
    failure: Option<FlushFailure>,
    /// An attempt may have been applied: only the identical content may be sent again.
    frozen: bool,
    stage: Stage,
}

/// How far a flight was when shutdown took it.
#[derive(Debug)]
pub(crate) enum Stranded<B> {
    /// Nobody is working on it.
    Idle { content: B, attempts: u32, failure: Option<FlushFailure> },
    /// A callback may still be reading it.
    Running(B),
}

#[derive(Debug)]
pub(crate) struct Flights<B> {
    live: BTreeMap<u64, Flight<B>>,
    /// When a backoff or a flush timeout ends.
    agenda: BTreeSet<(Tick, u64)>,
    ready: VecDeque<u64>,
    next_sequence: u64,
    running: usize,
}

impl<B: Clone> Flights<B> {
    pub(crate) fn new() -> Self {
        Flights {
            live: BTreeMap::new(),
            agenda: BTreeSet::new(),
            ready: VecDeque::new(),
            next_sequence: 1,
            running: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// How many workers are busy, or are about to be.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Every lower sequence number is settled for good.
    pub(crate) fn settled_below(&self) -> u64 {
        self.live.keys().next().copied().unwrap_or(self.next_sequence)
    }

    /// When something on the agenda is next to be done.
    pub(crate) fn next_tick(&self) -> Option<Tick> {
        self.agenda.first().map(|&(tick, _)| tick)
    }

    /// A new batch, still without entries.
    pub(crate) fn reserve(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let flight =
            Flight { batch: None, attempts: 0, failure: None, frozen: false, stage: Stage::Assembling };
        self.live.insert(sequence, flight);
        sequence
    }

    /// The reserved batch has got its entries and waits for a worker.
    pub(crate) fn launch(&mut self, sequence: u64, batch: B) {
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.stage = Stage::Ready;
        self.ready.push_back(sequence);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hands the next ready attempt to the workers.
    pub(crate) fn dispatch_next(&mut self) -> Option<u64> {
        let sequence = self.ready.pop_front()?;
        self.flight(sequence).stage = Stage::Dispatched;
        self.running += 1;
        Some(sequence)
    }

    /// A worker begins an attempt: the content and the attempt's number. `None` if shutdown has
    /// taken the batch meanwhile.
    pub(crate) fn begin(&mut self, sequence: u64, now: Duration, timeout: Duration) -> Option<(B, u32)> {
        let flight = self.live.get_mut(&sequence)?;
        let overdue_at = tick::ceil(now.saturating_add(timeout));
        flight.attempts += 1;
        flight.stage = Stage::Running { since: now, overdue_at: Some(overdue_at) };
        self.agenda.insert((overdue_at, sequence));
        flight.batch.clone().map(|batch| (batch, flight.attempts))
    }

    /// A worker is done with what was dispatched to it, `handle_error` and observers included.
    pub(crate) fn release_worker(&mut self) {
        self.running -= 1;
    }

    /// The callback is back, with a failure or without. False if shutdown has taken the batch
    /// meanwhile.
    pub(crate) fn landed(&mut self, sequence: u64, failure: Option<FlushFailure>) -> bool {
        let Some(flight) = self.live.get_mut(&sequence) else { return false };
        if let Stage::Running { overdue_at: Some(tick), .. } = flight.stage {
            self.agenda.remove(&(tick, sequence));
        }
        flight.stage = if failure.is_some() { Stage::Failed } else { Stage::Settling };
        flight.failure = failure.or(flight.failure.take());
        true
    }

    /// Whether an earlier attempt of the batch may have been applied.
    pub(crate) fn is_frozen(&self, sequence: u64) -> bool {
        self.live.get(&sequence).is_some_and(|flight| flight.frozen)
    }

    /// The batch is to be sent again at `until`, unless shutdown has taken it meanwhile.
    pub(crate) fn back_off(&mut self, sequence: u64, until: Tick, outcome: Outcome) {
        let Some(flight) = self.live.get_mut(&sequence) else { return };
        flight.frozen |= outcome == Outcome::Unknown;
        flight.stage = Stage::Backoff { until };
        self.agenda.insert((until, sequence));
    }

    /// A part of a batch that has been split: it has the attempts of the whole behind it and waits
    /// for its own.
    pub(crate) fn back_off_part(
        &mut self,
        sequence: u64,
        batch: B,
        attempts: u32,
        until: Tick,
        failure: FlushFailure,
    ) {
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.attempts = attempts;
        flight.failure = Some(failure);
        flight.stage = Stage::Backoff { until };
        self.agenda.insert((until, sequence));
    }

    /// The batch is settled or split. Returns the content that it still had, to be dropped elsewhere.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<B> {
        self.live.remove(&sequence)?.batch
    }

    /// Takes the content out of a batch whose failure is being acted upon. `None` if shutdown has
    /// taken the batch meanwhile.
    pub(crate) fn take_content(&mut self, sequence: u64) -> Option<B> {
        let flight = self.live.get_mut(&sequence)?;
        flight.stage = Stage::Settling;
        flight.batch.take()
    }

    /// The content of a batch.
    pub(crate) fn content(&self, sequence: u64) -> Presence<B> {
        match self.live.get(&sequence) {
            None => Presence::Gone,
            Some(flight) => flight.batch.clone().map_or(Presence::InTransit, Presence::Here),
        }
    }

    /// Readies what has waited long enough; returns the batches whose callbacks have become
    /// overdue, with how long they have been running.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<(u64, Duration)> {
        let mut overdue = Vec::new();
        while let Some(&(tick, sequence)) = self.agenda.first() {
            if tick > tick::floor(now) {
                break;
            }
            self.agenda.pop_first();
            let flight = self.flight(sequence);
            match flight.stage {
                Stage::Backoff { .. } => {
                    flight.stage = Stage::Ready;
                    self.ready.push_back(sequence);
                }
                Stage::Running { since, .. } => {
                    flight.stage = Stage::Running { since, overdue_at: None };
                    overdue.push((sequence, now.saturating_sub(since)));
                }
                Stage::Assembling | Stage::Ready | Stage::Dispatched | Stage::Failed | Stage::Settling => {}
            }
        }
        overdue
    }

    /// Shutdown: readies everything that waits for a later attempt.
    pub(crate) fn hurry(&mut self) {
        for (&sequence, flight) in &mut self.live {
            if let Stage::Backoff { until } = flight.stage {
                self.agenda.remove(&(until, sequence));
                flight.stage = Stage::Ready;
                self.ready.push_back(sequence);
            }
        }
    }

    /// Shutdown's deadline: takes out everything except what is being settled at this moment.
    pub(crate) fn strand(&mut self) -> Vec<(u64, Stranded<B>)> {
        let kept = |flight: &Flight<B>| matches!(flight.stage, Stage::Settling | Stage::Assembling);
        let (settling, stranded): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.live).into_iter().partition(|(_, flight)| kept(flight));
        self.live = settling;
        self.agenda.clear();
        self.ready.clear();
        stranded
            .into_iter()
            .filter_map(|(sequence, flight)| {
                let Flight { batch, attempts, failure, stage, .. } = flight;
                let content = batch?;
                let stranded = match stage {
                    Stage::Running { .. } => Stranded::Running(content),
                    _ => Stranded::Idle { content, attempts, failure },
                };
                Some((sequence, stranded))
            })
            .collect()
    }

    fn flight(&mut self, sequence: u64) -> &mut Flight<B> {
        self.live.get_mut(&sequence).unwrap_or_else(|| unreachable!("batch {sequence} is in flight"))
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
