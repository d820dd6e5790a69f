//! What becomes of keys whose attempts are spent: `handle_error`, and what that decides.

use std::hash::BuildHasher;
use std::slice;
use std::sync::{Arc, PoisonError};

use super::undelivered::Conclusion;
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry};
use crate::dead_letter::{About, DeadLetter, Rescued, Verdict};
use crate::driver::core::Core;
use crate::driver::wait::life::Phase;
use crate::engine::sequence::Sequence;
use crate::engine::shard::{Settled, Settlement, Ticket};
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
            gone: Vec::new(),
            certain: true,
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
        let ticket = entry.ticket(Sequence::of(*batch));
        let rescued = Rescued::default();
        let letter = DeadLetter::new(entry, giving_up.about.clone(), Arc::clone(&rescued));
        let handed = Handed { giving_up, ticket, rescued, answered: false };
        let verdict = self.callbacks.handle_error(letter).await;
        handed.answer(verdict)
    }

    /// Ends a flight.
    fn settle_given_up(&self, ticket: &Ticket, cause: &FailureCause) {
        let mut settlement = Settlement::default();
        self.intake.shard(ticket.partition).settle(slice::from_ref(ticket), Settled::GaveUp, &mut settlement);
        self.follow_settlement(settlement, Some(cause));
    }

    /// Sends the batch again as it is, an interval and jitter from now. Returns it if it is not to be sent any
    /// more, because the buffer is shutting down.
    fn send_again(&self, entries: Vec<Entry<K, V>>, about: &About) -> Option<Vec<Entry<K, V>>> {
        let sequence = Sequence::of(about.batch);
        let wait = self.interval_and_jitter();
        let mut settlement = Settlement::default();
        let until = {
            // Nothing is put aside meanwhile.
            let mut records = self.dispatch.assembly.lock();
            if self.life.phase() > Phase::Open {
                return Some(entries);
            }
            for entry in &entries {
                self.intake.shard(entry.partition).fly_on(&entry.ticket(sequence), &mut settlement);
            }
            let mut flights = self.dispatch.flights.lock();
            let until = self.end_of_wait(wait);
            records.release(sequence);
            records.note_batch(sequence, &entries, &flights.sent(sequence));
            flights.requeue(sequence, Arc::new(Content { id: about.batch, entries }), until);
            drop(flights);
            self.want_records(records);
            until
        };
        self.follow_settlement(settlement, Some(&about.cause));
        self.dispatch.doorbell.wake_by(until);
        None
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
    /// Are gone, with a journal: their keys do not fly again before it knows.
    gone: Vec<Ticket>,
    /// It has turned out of all that is left that no attempt was or will be applied.
    certain: bool,
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
        self.about.may_be_applied &= !self.certain;
        let (core, about, whole) = (self.core, &self.about, self.whole);
        let (mut back, mut kept) = (std::mem::take(&mut self.back), std::mem::take(&mut self.kept));
        if about.may_be_applied {
            // An id stands for all of its content: it is sent again whole or not at all.
            if whole && kept.is_empty() && self.gone.is_empty() {
                let Some(entries) = core.send_again(back, about) else { return };
                back = entries;
            }
            kept.append(&mut back);
        }
        let gone = std::mem::take(&mut self.gone);
        core.conclude(about, Conclusion { back, kept, gone, whole }, Some(&about.cause));
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for GivingUp<'_, K, V, S> {
    fn drop(&mut self) {
        if !self.over {
            let mut kept = std::mem::take(&mut self.kept);
            kept.append(&mut self.back);
            kept.extend(self.left.by_ref());
            let (back, gone) = (Vec::new(), std::mem::take(&mut self.gone));
            let conclusion = Conclusion { back, kept, gone, whole: self.whole };
            self.core.conclude(&self.about, conclusion, None);
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
        let certain = match &verdict {
            Some(Verdict::Keep(letter) | Verdict::Requeue(letter)) => !letter.may_be_applied(),
            _ => forgets,
        };
        self.giving_up.certain &= certain;
        // What is in the verdict goes where the rest is to be found.
        self.giving_up.core.callbacks.let_go(verdict);
        match self.rescue() {
            Some(entry) if forgets => {
                let fate = self.gone();
                self.giving_up.core.callbacks.let_go(entry);
                fate
            }
            Some(entry) if requeues => Fate::Back(entry),
            Some(entry) => Fate::Kept(entry),
            None => self.gone(),
        }
    }

    fn gone(&mut self) -> Fate<K, V> {
        let giving_up = &mut *self.giving_up;
        if giving_up.core.journal.is_some() {
            giving_up.gone.push(self.ticket);
        } else {
            giving_up.core.settle_given_up(&self.ticket, &giving_up.about.cause);
        }
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
