//! Batches that are on disk only, in a journal. They are older than anything of their keys that is pending, so
//! nothing is taken past them: as long as there are any, pending data is taken only to follow them there.

use std::collections::{BTreeMap, VecDeque};

use super::super::sequence::Sequence;
use super::super::shard::Need;
use super::{Flight, Flights, Queue, Record, Stage};

/// What is on disk only. Their memory does not grow with them: those that follow one another are one run.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    runs: VecDeque<Run>,
    batches: u64,
    bytes: u64,
    /// What is on its way there and still takes room.
    promised: Need,
    /// So many batches are on their way there.
    leaving: usize,
    /// How many batches in motion come from each that was loaded.
    origins: BTreeMap<Sequence, usize>,
    /// How often something was over that may have been in the way.
    endings: u64,
    /// How often that was when there was something in the way.
    blocked_at: Option<u64>,
}

#[derive(Debug)]
struct Run {
    first: Sequence,
    end: Sequence,
    /// They are from an earlier life, where attempts may have been made.
    frozen: bool,
}

/// A batch that is to be loaded.
#[derive(Debug)]
pub(crate) struct FromDisk<B> {
    pub(crate) sequence: Sequence,
    pub(crate) batch: B,
    pub(crate) bytes: u64,
}

/// The batches that are on disk only: they are among these sequences, and nothing else between them was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDisk {
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    pub(crate) batches: u64,
}

impl OnDisk {
    pub(crate) fn contains(&self, origin: Sequence) -> bool {
        (self.first..=self.last).contains(&origin)
    }
}

impl Spilled {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn first(&self) -> Option<Sequence> {
        self.runs.front().map(|run| run.first)
    }

    /// One more that is in motion.
    pub(super) fn count_in(&mut self, origin: Option<Sequence>) {
        if let Some(origin) = origin {
            *self.origins.entry(origin).or_default() += 1;
        }
    }

    /// One less. Returns the origin if that was the last.
    pub(super) fn count_out(&mut self, origin: Option<Sequence>) -> Option<Sequence> {
        self.endings += 1;
        let origin = origin?;
        let left = self.origins.get_mut(&origin)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.origins.remove(&origin);
        Some(origin)
    }

    fn push(&mut self, sequence: Sequence, bytes: u64, frozen: bool) {
        self.batches += 1;
        self.bytes += bytes;
        match self.runs.back_mut() {
            Some(run) if run.end == sequence && run.frozen == frozen => run.end = sequence.after(1),
            _ => self.runs.push_back(Run { first: sequence, end: sequence.after(1), frozen }),
        }
    }

    /// Takes the first one out. Says whether attempts of it may have been made.
    fn pop(&mut self, bytes: u64) -> Option<bool> {
        let run = self.runs.front_mut()?;
        let frozen = run.frozen;
        run.first = run.first.after(1);
        if run.first == run.end {
            self.runs.pop_front();
        }
        self.batches -= 1;
        self.bytes -= bytes;
        Some(frozen)
    }

    fn let_go(&mut self, need: Need) {
        self.promised.keys -= need.keys;
        self.promised.weight -= need.weight;
        self.leaving -= 1;
        self.endings += 1;
    }
}

impl<B: Clone> Flights<B> {
    /// The reserved batch has got its entries, which need this room, and is to be on disk only.
    pub(crate) fn spill(&mut self, sequence: Sequence, batch: B, need: Need) {
        self.spilled.promised.keys += need.keys;
        self.spilled.promised.weight += need.weight;
        self.spilled.leaving += 1;
        let flight = self.flight(sequence);
        (flight.batch, flight.stage) = (Some(batch), Stage::Spilling(need));
    }

    /// A batch is on disk, with so many bytes, and nobody else has its entries any more. Returns its content, to be
    /// dropped elsewhere.
    pub(crate) fn spilled(&mut self, sequence: Sequence, bytes: u64) -> Option<B> {
        let flight = self.live.remove(&sequence)?;
        if let Stage::Spilling(need) = flight.stage {
            self.spilled.let_go(need);
        }
        self.spilled.push(sequence, bytes, false);
        flight.batch
    }

    /// The disk has failed, and what waits for it is to be sent without: this one too, unless others go first. Says
    /// whether it is ready.
    pub(super) fn spill_no_more(&mut self, sequence: Sequence, need: Need) -> bool {
        if !self.spilled.is_empty() {
            return false;
        }
        self.flight(sequence).record = Record::Done;
        self.spilled.let_go(need);
        self.make_ready(sequence, Queue::Fresh);
        true
    }

    /// A journal has a batch which is not to be loaded yet. It may have been applied.
    pub(crate) fn find_spilled(&mut self, sequence: Sequence, bytes: u64) {
        self.spilled.push(sequence, bytes, true);
    }

    /// Whether what is pending has to stand back: there are older batches on disk, or on their way there.
    pub(crate) fn stands_back(&self) -> bool {
        self.spilled.leaving > 0 || !self.spilled.is_empty()
    }

    /// The batches that are on disk only.
    pub(crate) fn on_disk(&self) -> Option<OnDisk> {
        let (first, last) = (self.spilled.runs.front()?.first, self.spilled.runs.back()?.end.before());
        Some(OnDisk { first, last, batches: self.spilled.batches })
    }

    /// What [`block_load`](Self::block_load) is to be told.
    pub(crate) fn endings(&self) -> u64 {
        self.spilled.endings
    }

    /// The first of them cannot be loaded before something else is over. It was looked at when so much was.
    pub(crate) fn block_load(&mut self, endings: u64) {
        self.spilled.blocked_at = Some(endings);
    }

    /// Whether something may have changed since it could not be loaded.
    pub(crate) fn may_load(&self) -> bool {
        !self.spilled.is_empty() && self.spilled.blocked_at != Some(self.spilled.endings)
    }

    /// They, as ranges of which the end does not belong to it.
    pub(crate) fn spilled_runs(&self) -> Vec<std::ops::Range<u64>> {
        self.spilled.runs.iter().map(|run| run.first.number()..run.end.number()).collect()
    }

    /// How many bytes they are.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        self.spilled.bytes
    }

    /// The room that is given back as soon as what is on its way to the disk is there.
    pub(crate) fn promised(&self) -> Need {
        self.spilled.promised
    }

    /// The first batch that is on disk only is in flight again, and ready.
    pub(crate) fn load(&mut self, FromDisk { sequence, batch, bytes }: FromDisk<B>) {
        let mut flight = Flight::new(Record::Done);
        flight.frozen = self.spilled.pop(bytes).unwrap_or_default();
        (flight.batch, flight.origin) = (Some(batch), Some(sequence));
        self.spilled.count_in(flight.origin);
        self.live.insert(sequence, flight);
        self.make_ready(sequence, Queue::Fresh);
    }

    /// What is in motion and has its content.
    pub(crate) fn in_memory(&self) -> impl Iterator<Item = &B> {
        let in_motion = self.live.values().filter(|flight| !matches!(flight.stage, Stage::Kept { .. }));
        in_motion.filter_map(|flight| flight.batch.as_ref())
    }

    /// The batch that was on disk only and is this one, or became this one and others.
    pub(crate) fn origin(&self, sequence: Sequence) -> Option<Sequence> {
        self.live.get(&sequence)?.origin
    }
}
