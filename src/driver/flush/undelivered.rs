//! What nobody wanted: kept as undelivered, and offered again.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use std::{mem, slice};

use super::Held;
use super::parts::After;
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry};
use crate::dead_letter::About;
use crate::driver::core::Core;
use crate::driver::journal::Records;
use crate::driver::sync::unwrap_soon;
use crate::driver::wait::life::Phase;
use crate::driver::wait::waiter::WaiterRef;
use crate::engine::flights::{Past, Presence, Standing};
use crate::engine::sequence::Sequence;
use crate::engine::shard::{Need, Settled, Settlement, Ticket};
use crate::engine::tick::{self, Tick};
use crate::failure::FailureCause;
use crate::key::Key;

/// What becomes of a batch's entries.
pub(super) struct Conclusion<K, V> {
    /// To go back before newer data of their keys. Kept instead if the buffer is closed.
    pub(super) back: Vec<Entry<K, V>>,
    /// To be kept as undelivered.
    pub(super) kept: Vec<Entry<K, V>>,
    /// `handle_error` has dealt with them.
    pub(super) gone: Vec<Ticket>,
    /// Nothing of the batch is gone.
    pub(super) whole: bool,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Ends a batch that was given up, or is offered again. `failure` is told to those who waited for what goes back.
    pub(super) fn conclude(
        &self,
        about: &About,
        conclusion: Conclusion<K, V>,
        failure: Option<&FailureCause>,
    ) {
        let Conclusion { mut back, mut kept, gone, whole } = conclusion;
        let sequence = Sequence::of(about.batch);
        let (mut put_back, mut let_go) = (Settlement::default(), Vec::with_capacity(back.len()));
        let mut settlement = Settlement::default();
        let (keys, inserts, origin, over) = {
            // Nothing is put aside between the end of a flight and the batch's new stage.
            let mut records = self.dispatch.assembly.lock();
            let (origin, stands_back) = {
                let flights = self.dispatch.flights.lock();
                (flights.origin(sequence), flights.stands_back())
            };
            // What is pending goes behind what is on disk, of the same keys too; and it is spilled and loaded without
            // waiting for its time.
            let spills = stands_back || self.settings.bounds.overflow.max_spilled().is_some();
            if spills && self.life.phase() == Phase::Open {
                self.send_apart(mem::take(&mut back), about, &mut records, &mut put_back);
            }
            for entry in back {
                let stays = self.put_back(entry, about, &mut records, &mut put_back, &mut let_go);
                kept.extend(stays);
            }
            for ticket in &gone {
                let mut shard = self.intake.shard(ticket.partition);
                shard.settle(slice::from_ref(ticket), Settled::GaveUp, &mut settlement);
            }
            let (keys, inserts) = (kept.len(), kept.iter().map(Entry::count).sum());
            let over = self.keep(kept, about, whole, &mut records, &mut settlement);
            self.want_records(records);
            (keys, inserts, origin, over)
        };
        self.callbacks.let_go(let_go);
        self.tell_spilled(origin, Some(&about.cause));
        self.follow_settlement(put_back, failure);
        self.follow_settlement(settlement, Some(&about.cause));
        self.tell_spilled(over, None);
        if keys > 0 {
            self.callbacks.observe(|observer| observer.undelivered(&self.settings.name, keys, inserts));
        } else {
            self.end_flight(sequence);
        }
    }

    /// Sends entries again as a batch of their own, an interval and jitter from now. Nothing of them was applied.
    fn send_apart(
        &self,
        entries: Vec<Entry<K, V>>,
        about: &About,
        records: &mut Records<K, V>,
        settlement: &mut Settlement<K, WaiterRef>,
    ) {
        if entries.is_empty() {
            return;
        }
        let (sequence, wait) = (Sequence::of(about.batch), self.interval_and_jitter());
        for entry in &entries {
            self.intake.shard(entry.partition).fly_on(&entry.ticket(sequence), settlement);
        }
        let past = Past { attempts: 0, cause: about.cause.clone(), frozen: false };
        self.carve(records, sequence, entries, (past, After::Sent), |flights, part| {
            let until = self.end_of_wait(wait);
            flights.back_off(part, until);
            settlement.armed = Some(until);
        });
    }

    /// How long what is put back waits.
    pub(super) fn interval_and_jitter(&self) -> Duration {
        let schedule = &self.settings.schedule;
        schedule.interval + schedule.jitter.mul_f64(self.dispatch.chance())
    }

    /// When that is over, if it begins now. Called under the flights' lock: if shutdown has not yet hurried those that
    /// wait, it will find this one too.
    pub(super) fn end_of_wait(&self, wait: Duration) -> Tick {
        let wait = if self.life.phase() > Phase::Open { Duration::ZERO } else { wait };
        tick::ceil(self.clock.now().saturating_add(wait))
    }

    /// Puts an entry back, or returns it if the buffer is closed. What is left of it is to be dropped where no lock is held.
    fn put_back(
        &self,
        entry: Entry<K, V>,
        about: &About,
        records: &mut Records<K, V>,
        settlement: &mut Settlement<K, WaiterRef>,
        let_go: &mut Vec<K>,
    ) -> Option<Entry<K, V>> {
        let now = self.clock.now();
        let ticket = entry.ticket(Sequence::of(about.batch));
        let mut shard = self.intake.shard(ticket.partition);
        if !shard.is_open() {
            return Some(entry);
        }
        let Entry { key, data, .. } = entry;
        // Merging is the user's code and may panic; the other keys of the batch must not suffer.
        let _ = self.callbacks.call(|| shard.requeue(&ticket, data, now, self, settlement));
        if records.is_on() {
            shard.show(ticket.hash, &key, &mut records.visit());
        }
        let_go.push(key);
        None
    }

    /// Keeps entries of a batch as undelivered. Returns which batch that was on disk only is over with it.
    fn keep(
        &self,
        mut entries: Vec<Entry<K, V>>,
        about: &About,
        whole: bool,
        records: &mut Records<K, V>,
        settlement: &mut Settlement<K, WaiterRef>,
    ) -> Option<Sequence> {
        let sequence = Sequence::of(about.batch);
        records.release(sequence);
        if entries.is_empty() {
            self.dispatch.flights.lock().replaced(sequence);
            return None;
        }
        entries.sort_unstable_by_key(|entry| entry.index);
        for (index, entry) in (0..).zip(&mut entries) {
            let ticket = entry.ticket(sequence);
            let mut shard = self.intake.shard(ticket.partition);
            settlement.counts_as_key = false;
            shard.settle(slice::from_ref(&ticket), Settled::Kept, settlement);
            (entry.index, entry.counts_as_key) = (index, settlement.counts_as_key);
        }
        let About { attempts, ref cause, may_be_applied: frozen, .. } = *about;
        let past = Past { attempts, cause: cause.clone(), frozen };
        let mut flights = self.dispatch.flights.lock();
        let handed_over = flights.is_handed_over(sequence);
        records.note_batch(sequence, &entries, &Standing::Kept { past, whole, handed_over });
        let content = Arc::new(Content { id: about.batch, entries });
        flights.keep(sequence, content, frozen, whole)
    }

    /// Offers everything that is kept as undelivered again. Returns how many keys are on their way.
    pub(crate) fn retry_undelivered(&self) -> usize {
        let offerable = self.dispatch.flights.lock().offerable();
        let offered = offerable.into_iter().map(|sequence| self.offer(sequence)).sum();
        self.dispatch.doorbell.ring();
        offered
    }

    /// Offers a batch that is kept, unless one of its keys has newer data in flight, or there is no room for
    /// keys that do not count as such.
    fn offer(&self, sequence: Sequence) -> usize {
        let Presence::Here(content) = self.dispatch.content(sequence) else { return 0 };
        let wanted = uncounted(&content.entries);
        drop(content);
        // Under no lock: it may wake others.
        let need = Need { keys: wanted, weight: 0 };
        let Some(Need { keys: room, .. }) = self.intake.draw(need) else { return 0 };
        let mut settlement = Settlement::default();
        let Some(Offered { keys, to_put_back }) = self.take_off_again(sequence, room, &mut settlement) else {
            self.intake.give_room(Need { keys: room, weight: 0 });
            return 0;
        };
        self.intake.give_room(settlement.freed);
        if let Some((content, past)) = to_put_back {
            let Past { attempts, cause, .. } = past;
            let Content { id: batch, entries } = unwrap_soon(content);
            let about = About { batch, epoch: self.epoch, attempts, cause, may_be_applied: false };
            // No attempt has been made, so there is nothing to tell.
            let conclusion = Conclusion { back: entries, kept: Vec::new(), gone: Vec::new(), whole: true };
            self.conclude(&about, conclusion, None);
        }
        keys
    }

    /// Takes a kept batch out, with room for so many keys that do not count as such. Readies it if it has to
    /// be sent as it is.
    fn take_off_again(
        &self,
        sequence: Sequence,
        room: u64,
        settlement: &mut Settlement<K, WaiterRef>,
    ) -> Option<Offered<K, V>> {
        // Nothing else takes off or is put aside meanwhile.
        let mut records = self.dispatch.assembly.lock();
        let Presence::Here(content) = self.dispatch.content(sequence) else { return None };
        let busy = |entry: &Entry<K, V>| self.intake.shard(entry.partition).is_flying(entry);
        if self.life.phase() > Phase::Open || content.entries.iter().any(busy) {
            return None;
        }
        // Somebody else may have offered it, and it may have been kept again, since the room was drawn.
        let surplus = room.checked_sub(uncounted(&content.entries))?;
        drop(content);
        let (content, past) = self.dispatch.flights.lock().take_back(sequence)?;
        for entry in &content.entries {
            let mut shard = self.intake.shard(entry.partition);
            if !entry.counts_as_key {
                shard.grant(Need { keys: 1, weight: 0 });
            }
            shard.take_off_again(entry, sequence, settlement);
        }
        settlement.freed.keys += surplus;
        let mut flights = self.dispatch.flights.lock();
        let handed_over = flights.is_handed_over(sequence);
        let offered = Offered { keys: content.entries.len(), to_put_back: None };
        if !past.frozen && !handed_over {
            let kept = Standing::Kept { past: past.clone(), whole: true, handed_over };
            records.hold(sequence, &content.entries, &kept);
            return Some(Offered { to_put_back: Some((content, past)), ..offered });
        }
        if handed_over {
            records.hold(sequence, &content.entries, &Standing::GivenUp(past));
            flights.doom_again(sequence, content);
        } else {
            flights.offer(sequence, content);
        }
        Some(offered)
    }
}

/// A batch that is offered again.
struct Offered<K, V> {
    keys: usize,
    /// No attempt of it was applied: it need not be sent as it is.
    to_put_back: Option<(Held<K, V>, Past)>,
}

/// How many of them do not count as keys.
fn uncounted<K, V>(entries: &[Entry<K, V>]) -> u64 {
    entries.iter().filter(|entry| !entry.counts_as_key).count() as u64
}
