//! What becomes of keys whose attempts are spent: `handle_error`, and what that decides.

use std::hash::BuildHasher;
use std::slice;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::core::Core;
use super::life::Phase;
use super::sync::unwrap_soon;
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry};
use crate::dead_letter::{About, DeadLetter, Rescued, Verdict};
use crate::engine::flights::{Past, Presence};
use crate::engine::shard::{Need, Settled, Settlement, Ticket};
use crate::engine::tick;
use crate::failure::FailureCause;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Hands all entries of a batch to `handle_error`, and does what it says.
    pub(super) async fn give_up(&self, entries: Vec<Entry<K, V>>, about: About) {
        let mut giving_up = GivingUp {
            core: self,
            about,
            left: entries.into_iter(),
            back: Vec::new(),
            kept: Vec::new(),
            whole: true,
            over: false,
        };
        while let Some(entry) = giving_up.left.next() {
            let fate = self.hand_over(&mut giving_up, entry).await;
            giving_up.note(fate);
        }
        giving_up.end();
    }

    async fn hand_over(&self, giving_up: &mut GivingUp<'_, K, V, S>, entry: Entry<K, V>) -> Fate<K, V> {
        let About { batch, attempts, cause, .. } = &giving_up.about;
        let (name, count) = (&self.settings.name, entry.count);
        self.callbacks.observe(|observer| observer.gave_up(name, count, *attempts, cause));
        let ticket = entry.ticket(batch.sequence);
        let rescued = Rescued::default();
        let letter = DeadLetter::new(entry, giving_up.about.clone(), Arc::clone(&rescued));
        let handed = Handed { giving_up, ticket, rescued, answered: false };
        let verdict = self.callbacks.handle_error(letter).await;
        handed.answer(verdict)
    }

    /// Ends a flight.
    fn settle_given_up(&self, ticket: &Ticket, how: Settled, cause: &FailureCause) {
        let mut settlement = Settlement::default();
        self.shard(ticket.partition as usize).settle(slice::from_ref(ticket), how, &mut settlement);
        self.follow_settlement(settlement, Some(cause));
    }

    /// Puts entries of a batch back before newer data of their keys; `failure` is told to those who waited for
    /// them. Returns those that cannot be put back any more, because the buffer is closed.
    fn put_back(
        &self,
        entries: Vec<Entry<K, V>>,
        batch: u64,
        failure: Option<&FailureCause>,
    ) -> Vec<Entry<K, V>> {
        let mut stay = Vec::new();
        for entry in entries {
            let now = self.clock.now();
            let ticket = entry.ticket(batch);
            let mut shard = self.shard(ticket.partition as usize);
            if !shard.is_open() {
                drop(shard);
                stay.push(entry);
                continue;
            }
            // Merging is the user's code and may panic; the other keys of the batch must not suffer.
            let mut settlement = Settlement::default();
            let Entry { key, data, .. } = entry;
            let _ = self.callbacks.call(|| shard.requeue(&ticket, data, now, self, &mut settlement));
            drop(shard);
            self.let_go(key);
            self.follow_settlement(settlement, failure);
        }
        stay
    }

    /// Sends the batch again as it is, an interval and jitter from now. Returns it if it is not to be sent any
    /// more, because the buffer is shutting down.
    fn send_again(&self, entries: Vec<Entry<K, V>>, about: &About) -> Option<Vec<Entry<K, V>>> {
        let sequence = about.batch.sequence;
        let jitter = self.settings.schedule.jitter.mul_f64(self.chance());
        let mut settlement = Settlement::default();
        let until = {
            // Nothing is put aside meanwhile.
            let _assembly = self.assembly.lock();
            if self.life.phase() > Phase::Open {
                return Some(entries);
            }
            for entry in &entries {
                self.shard(entry.partition as usize).fly_on(&entry.ticket(sequence), &mut settlement);
            }
            let mut flights = self.flights.lock();
            // Under the lock: if shutdown has not yet hurried those that wait, it will find this one too.
            let hurried = self.life.phase() > Phase::Open;
            let wait = if hurried { Duration::ZERO } else { self.settings.schedule.interval + jitter };
            let until = tick::ceil(self.clock.now().saturating_add(wait));
            flights.requeue(sequence, Arc::new(Content { id: about.batch, entries }), until);
            until
        };
        self.follow_settlement(settlement, Some(&about.cause));
        self.doorbell.wake_by(until);
        None
    }

    /// Keeps entries of a batch as undelivered; ends the flight if there are none.
    pub(super) fn keep(&self, mut entries: Vec<Entry<K, V>>, about: &About, whole: bool) {
        let sequence = about.batch.sequence;
        if entries.is_empty() {
            return self.end_flight(sequence);
        }
        let (keys, inserts) = (entries.len(), entries.iter().map(Entry::count).sum());
        let mut settlement = Settlement::default();
        {
            // Nothing is put aside between the end of a flight and the batch's new stage.
            let _assembly = self.assembly.lock();
            for (index, entry) in (0..).zip(&mut entries) {
                let ticket = entry.ticket(sequence);
                let mut shard = self.shard(ticket.partition as usize);
                settlement.counts_as_key = false;
                shard.settle(slice::from_ref(&ticket), Settled::Kept, &mut settlement);
                (entry.index, entry.counts_as_key) = (index, settlement.counts_as_key);
            }
            let content = Arc::new(Content { id: about.batch, entries });
            self.flights.lock().keep(sequence, content, about.may_be_applied, whole);
        }
        self.follow_settlement(settlement, Some(&about.cause));
        self.callbacks.observe(|observer| observer.undelivered(&self.settings.name, keys, inserts));
    }

    /// Offers everything that is kept as undelivered again. Returns how many keys are on their way.
    pub(crate) fn retry_undelivered(&self) -> usize {
        let offerable = self.flights.lock().offerable();
        let offered = offerable.into_iter().map(|sequence| self.offer(sequence)).sum();
        self.doorbell.ring();
        offered
    }

    /// Offers a batch that is kept, unless one of its keys has newer data in flight, or there is no room for
    /// keys that do not count as such.
    fn offer(&self, sequence: u64) -> usize {
        let mut settlement = Settlement::default();
        let surplus;
        let (content, past) = {
            // Nothing else takes off or is put aside meanwhile.
            let assembly = self.assembly.lock();
            let Presence::Here(content) = self.flights.lock().content(sequence) else { return 0 };
            let busy = |entry: &Entry<K, V>| self.shard(entry.partition as usize).is_flying(entry);
            if self.life.phase() > Phase::Open || content.entries.iter().any(busy) {
                return 0;
            }
            let places = content.entries.iter().filter(|entry| !entry.counts_as_key).count() as u64;
            drop(content);
            let Some(room) = self.draw_keys(places) else { return 0 };
            surplus = room - places;
            let Some((content, past)) = self.flights.lock().take_back(sequence) else {
                // Somebody else has offered it since it was found.
                drop(assembly);
                self.give_room(Need { keys: room, weight: 0 });
                return 0;
            };
            for entry in &content.entries {
                let mut shard = self.shard(entry.partition as usize);
                if !entry.counts_as_key {
                    shard.grant(Need { keys: 1, weight: 0 });
                }
                shard.take_off_again(entry, sequence, &mut settlement);
            }
            if past.frozen {
                self.flights.lock().offer(sequence, Arc::clone(&content));
            }
            (content, past)
        };
        let keys = content.entries.len();
        settlement.freed.keys += surplus;
        self.give_room(settlement.freed);
        if !past.frozen {
            let Past { attempts, cause, .. } = past;
            let Content { id: batch, entries } = unwrap_soon(content);
            let about = About { batch, attempts, cause, may_be_applied: false };
            // No attempt has been made, so there is nothing to tell.
            let stay = self.put_back(entries, sequence, None);
            self.keep(stay, &about, true);
        }
        keys
    }
}

/// What was decided about a key.
enum Fate<K, V> {
    Back(Entry<K, V>),
    Kept(Entry<K, V>),
    /// Its flight has been ended.
    Gone,
}

/// The keys of a batch that is given up. Dropped before its end, because a runtime shuts down, it keeps
/// what has not been dealt with.
struct GivingUp<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    about: About,
    left: std::vec::IntoIter<Entry<K, V>>,
    /// To be put back.
    back: Vec<Entry<K, V>>,
    /// To be kept.
    kept: Vec<Entry<K, V>>,
    /// Nothing of the batch is gone.
    whole: bool,
    over: bool,
}

impl<K: Key, V: Aggregate, S: BuildHasher> GivingUp<'_, K, V, S> {
    fn note(&mut self, fate: Fate<K, V>) {
        match fate {
            Fate::Back(entry) => self.back.push(entry),
            Fate::Kept(entry) => self.kept.push(entry),
            Fate::Gone => self.whole = false,
        }
    }

    /// All keys have been handed over.
    fn end(mut self) {
        self.over = true;
        let (core, about, whole) = (self.core, &self.about, self.whole);
        let (back, mut kept) = (std::mem::take(&mut self.back), std::mem::take(&mut self.kept));
        if !about.may_be_applied {
            kept.extend(core.put_back(back, about.batch.sequence, Some(&about.cause)));
        } else if whole && kept.is_empty() {
            // An id stands for all of its content: it is sent again whole or not at all.
            let Some(back) = core.send_again(back, about) else { return };
            kept = back;
        } else {
            kept.extend(back);
            kept.sort_unstable_by_key(|entry| entry.index);
        }
        core.keep(kept, about, whole);
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for GivingUp<'_, K, V, S> {
    fn drop(&mut self) {
        if !self.over {
            let mut kept = std::mem::take(&mut self.kept);
            kept.append(&mut self.back);
            kept.extend(self.left.by_ref());
            kept.sort_unstable_by_key(|entry| entry.index);
            self.core.keep(kept, &self.about, self.whole);
        }
    }
}

/// A key in the hands of `handle_error`.
struct Handed<'b, 'a, K: Key, V: Aggregate, S: BuildHasher> {
    giving_up: &'b mut GivingUp<'a, K, V, S>,
    ticket: Ticket,
    rescued: Rescued<K, V>,
    answered: bool,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Handed<'_, '_, K, V, S> {
    /// `None` if it panicked: then what counts is whether it had taken the data out.
    fn answer(mut self, verdict: Option<Verdict<K, V>>) -> Fate<K, V> {
        self.answered = true;
        let requeues = matches!(verdict, Some(Verdict::Requeue(_)));
        let forgets = matches!(verdict, Some(Verdict::Forget));
        // What is in the verdict goes where the rest is to be found.
        self.giving_up.core.let_go(verdict);
        match self.rescue() {
            Some(entry) if forgets => {
                let fate = self.gone();
                self.giving_up.core.let_go(entry);
                fate
            }
            Some(entry) if requeues => Fate::Back(entry),
            Some(entry) => Fate::Kept(entry),
            None => self.gone(),
        }
    }

    fn gone(&self) -> Fate<K, V> {
        self.giving_up.core.settle_given_up(&self.ticket, Settled::GaveUp, &self.giving_up.about.cause);
        Fate::Gone
    }

    fn rescue(&self) -> Option<Entry<K, V>> {
        self.rescued.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Dropped without an answer, because the runtime shuts down.
impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Handed<'_, '_, K, V, S> {
    fn drop(&mut self) {
        if !self.answered {
            let fate = match self.rescue() {
                Some(entry) => Fate::Kept(entry),
                None => self.gone(),
            };
            self.giving_up.note(fate);
        }
    }
}
