//! What can be done to a batch in flight: its entries settled, a part of it made a batch, its end.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::Held;
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, Content, Entry};
use crate::driver::core::Core;
use crate::driver::intake::HOLD;
use crate::driver::journal::Records;
use crate::driver::sync::{MutexGuard, unwrap_soon};
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::flights::{Flights, Past, Standing};
use crate::engine::sequence::Sequence;
use crate::engine::shard::{Settled, Settlement, Ticket};
use crate::key::Key;
use crate::observer::FlushEvent;

/// What happens to a part of a batch next.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    Sent,
    GivenUp,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    pub(super) fn batch_id(&self, sequence: Sequence) -> BatchId {
        sequence.id(self.instance)
    }

    /// The batch is over.
    pub(super) fn end_flight(&self, sequence: Sequence) {
        let (content, origin) = self.dispatch.flights.lock().remove(sequence);
        self.callbacks.let_go(content);
        self.tell_spilled(origin, None);
        self.note_change();
    }

    /// Has the journal write what was recorded, if there is one. No partition is locked.
    pub(super) fn want_records(&self, records: MutexGuard<'_, Records<K, V>>) {
        drop(records);
        if let Some(journal) = &self.journal {
            journal.progress.want_records();
        }
    }

    /// `None` if shutdown has taken the batch meanwhile.
    pub(super) fn take_entries(&self, sequence: Sequence) -> Option<Vec<Entry<K, V>>> {
        let content = self.dispatch.flights.lock().take_content(sequence)?;
        Some(unwrap_soon(content).entries)
    }

    /// One partition's entries stand together, so each partition is locked about once.
    pub(super) fn settle_flushed(&self, sequence: Sequence, entries: &[Entry<K, V>]) {
        self.settle(sequence, entries, Settled::Flushed, |settlement| {
            self.follow_settlement(settlement, None)
        });
    }

    /// Ends the flights of a batch's entries, a few at a time, and has each time what follows followed.
    pub(super) fn settle(
        &self,
        sequence: Sequence,
        entries: &[Entry<K, V>],
        how: Settled,
        mut follow: impl FnMut(Settlement<K, WaiterRef>),
    ) {
        let tickets: Vec<Ticket> = entries.iter().map(|entry| entry.ticket(sequence)).collect();
        let runs = tickets.chunk_by(|a, b| a.partition == b.partition);
        for run in runs.flat_map(|run| run.chunks(HOLD)) {
            let mut settlement = Settlement { keys: Vec::with_capacity(run.len()), ..Settlement::default() };
            self.intake.shard(run[0].partition).settle(run, how, &mut settlement);
            follow(settlement);
        }
    }

    /// Makes a new batch of some entries of `whole`, and says what is to be done with it.
    pub(super) fn part<'a>(
        &self,
        records: &mut Records<K, V>,
        whole: &FlushEvent<'a>,
        entries: Vec<Entry<K, V>>,
        going_on: (Past, After),
        go_on: impl FnOnce(&mut Flights<Held<K, V>>, Sequence),
    ) -> FlushEvent<'a> {
        let inserts = entries.iter().map(Entry::count).sum();
        let (keys, reason, late) = (entries.len(), entries[0].reason, latest(&entries));
        let batch = self.carve(records, Sequence::of(whole.batch), entries, going_on, go_on);
        FlushEvent { batch, keys, inserts, reason, late, ..*whole }
    }

    /// As [`part`](Self::part), if there is nothing to tell.
    pub(super) fn carve(
        &self,
        records: &mut Records<K, V>,
        whole: Sequence,
        mut entries: Vec<Entry<K, V>>,
        (past, after): (Past, After),
        go_on: impl FnOnce(&mut Flights<Held<K, V>>, Sequence),
    ) -> BatchId {
        let (sequence, ahead) = {
            let mut flights = self.dispatch.flights.lock();
            (flights.reserve(1), flights.origin(whole).is_some())
        };
        for (index, entry) in (0..).zip(&mut entries) {
            let mut shard = self.intake.shard(entry.partition);
            shard.rebook(entry.hash, (whole, entry.index), (sequence, index));
            entry.index = index;
        }
        let standing = match after {
            After::Sent => Standing::Sent { ahead },
            After::GivenUp => Standing::GivenUp(past.clone()),
        };
        records.note_batch(sequence, &entries, &standing);
        if let After::GivenUp = after {
            records.hold(sequence, &entries, &standing);
        }
        let id = self.batch_id(sequence);
        let content = Arc::new(Content { id, entries });
        let mut flights = self.dispatch.flights.lock();
        flights.be_part(whole, sequence, content, past);
        go_on(&mut flights, sequence);
        id
    }
}

/// How late the latest of them was taken.
pub(super) fn latest<K, V>(entries: &[Entry<K, V>]) -> Duration {
    let late = entries.iter().map(|entry| entry.late).max().unwrap_or(0);
    Duration::from_millis(late.into())
}
