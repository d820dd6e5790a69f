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

/// The batches that are on disk only: they are from `first` on and before `end`, and nothing else between them was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDisk {
    pub(crate) first: Sequence,
    pub(crate) end: Sequence,
    pub(crate) batches: u64,
}

impl OnDisk {
    pub(crate) fn contains(&self, origin: Sequence) -> bool {
        (self.first..self.end).contains(&origin)
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
        let (first, end) = (self.spilled.first()?, self.spilled.runs.back()?.end);
        Some(OnDisk { first, end, batches: self.spilled.batches })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::flights::Past;
    use crate::failure::FailureCause;

    fn need(keys: u64) -> Need {
        Need { keys, weight: 2 * keys }
    }

    /// Has these many batches on their way to the disk.
    fn leaving(flights: &mut Flights<&'static str>, batches: usize) -> Sequence {
        let first = flights.reserve(batches);
        first.until(first.after(batches)).for_each(|sequence| flights.spill(sequence, "data", need(1)));
        first
    }

    /// The journal has written all there is.
    fn written(flights: &mut Flights<&'static str>) -> Vec<Sequence> {
        let all: Vec<_> = flights.sequences().collect();
        flights.recording(all.clone());
        let spilled = flights.recorded(all).spilled;
        spilled.into_iter().map(|(sequence, _)| sequence).collect()
    }

    #[test]
    fn what_is_written_leaves_and_comes_back_in_order() {
        let mut flights = Flights::new(true);
        let first = leaving(&mut flights, 3);
        assert_eq!((flights.promised(), flights.on_disk(), flights.stands_back()), (need(3), None, true));
        for sequence in written(&mut flights) {
            assert_eq!(flights.spilled(sequence, 10), Some("data"));
        }
        assert_eq!((flights.promised(), flights.spilled_bytes()), (need(0), 30));
        assert_eq!(flights.on_disk().map(|on_disk| on_disk.batches), Some(3));
        let run = first.number()..first.number() + 3;
        assert_eq!(flights.spilled_runs(), std::slice::from_ref(&run), "one run");
        assert_eq!(flights.settled_below(), first, "they are not settled");
        assert!(!flights.is_idle() && flights.in_motion() == 0);
        for sequence in first.until(first.after(3)) {
            assert_eq!(flights.on_disk().map(|on_disk| on_disk.first), Some(sequence));
            flights.load(FromDisk { sequence, batch: "data", bytes: 10 });
            assert_eq!(flights.fresh(), 1);
            let started = flights.start_next(Duration::ZERO, Duration::from_secs(1));
            assert!(started.is_some_and(|started| started.attempt == 1));
            assert!(!flights.is_frozen(sequence), "it was never sent");
            assert_eq!(flights.remove(sequence), (Some("data"), Some(sequence)), "and it is over");
        }
        assert!(flights.is_idle() && !flights.stands_back());
    }

    #[test]
    fn a_batch_is_over_with_the_last_of_its_parts() {
        let mut flights = Flights::new(true);
        flights.find_spilled(Sequence::numbered(7), 10);
        flights.go_on_from(Sequence::numbered(100));
        let whole = Sequence::numbered(7);
        flights.load(FromDisk { sequence: whole, batch: "both", bytes: 10 });
        assert!(flights.is_frozen(whole), "an earlier life may have sent it");
        let first = flights.reserve(2);
        let second = first.after(1);
        let past = || Past { attempts: 1, cause: FailureCause::Cancelled, frozen: false };
        flights.be_part(whole, first, "one", past());
        flights.be_part(whole, second, "other", past());
        assert_eq!(flights.remove(whole).1, None);
        assert_eq!(flights.keep(first, "one", false, true), None);
        assert_eq!(flights.remove(second).1, Some(whole));
        assert_eq!(flights.remove(first).1, None, "what is kept does not count");
    }

    #[test]
    fn a_load_in_vain_is_not_repeated_before_something_is_over() {
        let mut flights = Flights::new(true);
        assert!(!flights.may_load());
        let sequence = flights.reserve(1);
        flights.launch(sequence, "in the way");
        flights.find_spilled(Sequence::numbered(50), 10);
        assert!(flights.may_load());
        let looked_at = flights.endings();
        flights.block_load(looked_at);
        assert!(!flights.may_load());
        let looked_at = flights.endings();
        flights.remove(sequence);
        assert!(flights.may_load());
        flights.block_load(looked_at);
        assert!(flights.may_load(), "it was over meanwhile");
    }

    #[test]
    fn without_a_disk_they_are_sent_unless_others_go_first() {
        let mut flights = Flights::new(true);
        leaving(&mut flights, 2);
        assert!(flights.set_journaled(false) && flights.fresh() == 2 && !flights.stands_back());
        let mut flights = Flights::new(true);
        flights.find_spilled(Sequence::FIRST, 10);
        flights.go_on_from(Sequence::numbered(2));
        leaving(&mut flights, 2);
        assert!(!flights.set_journaled(false) && flights.fresh() == 0);
        flights.set_journaled(true);
        assert_eq!(written(&mut flights).len(), 2, "they are written when there is a disk again");
    }
}
