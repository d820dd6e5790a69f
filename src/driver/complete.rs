//! What happens when a worker has a batch: the callback, and what follows from its result.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Key};
use super::life::Phase;
use super::sink::{Failed, Handled};
use super::sync::{Ordering, unwrap_soon};
use crate::aggregate::Aggregate;
use crate::batch::{BatchId, Content, Entry, FlushBatch, FlushReason};
use crate::engine::flights::Presence;
use crate::engine::shard::{Settled, Settlement, Ticket};
use crate::engine::tick::{self, Tick};
use crate::failure::{FlushFailure, Outcome};
use crate::observer::FlushEvent;
use crate::undelivered::{Undelivered, UndeliveredState};

/// While draining, a backoff lasts at most this long: shutdown does not wait for it, but does not
/// hammer the storage either.
const DRAINING_BACKOFF: Duration = Duration::from_millis(50);

/// One attempt that has come back.
struct Attempt<'a> {
    sequence: u64,
    event: FlushEvent<'a>,
}

/// Entries with the places that they had in their batch.
type Placed<K, V> = Vec<(u32, Entry<K, V>)>;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Makes one attempt to flush a dispatched batch and carries out what follows.
    pub(crate) fn run(&self, sequence: u64) {
        // Callbacks are contained already; this is for a key whose `Clone` panics.
        let _ = self.callbacks.call(|| self.attempt(sequence));
        self.flights.lock().release_worker();
        self.doorbell.ring();
    }

    fn attempt(&self, sequence: u64) {
        let started = self.clock.now();
        let (begun, settled_below) = {
            let mut flights = self.flights.lock();
            (flights.begin(sequence, started, self.config.flush_timeout), flights.settled_below())
        };
        let Some((content, attempt)) = begun else { return };
        // The scheduler watches the flush timeout.
        self.doorbell.wake_by(tick::ceil(started.saturating_add(self.config.flush_timeout)));
        let batch = FlushBatch { content, attempt, settled_below };
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        let event = self.event(&batch);
        self.callbacks.observe(|observer| observer.flush_started(&event));
        let result = self.callbacks.flush(&batch);
        let took = self.clock.now().saturating_sub(started);
        match &result {
            Ok(()) => self.callbacks.observe(|observer| observer.flush_succeeded(&event, took)),
            Err(failed) => self.tell_failed(&event, failed, took),
        }
        drop(batch);
        let failure = result.as_ref().err().map(|failed| failed.failure().clone());
        if self.flights.lock().landed(sequence, failure) {
            self.carry_out(&Attempt { sequence, event }, result);
        } else {
            self.counters.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn event(&self, batch: &FlushBatch<K, V>) -> FlushEvent<'_> {
        FlushEvent {
            buffer: &self.config.name,
            batch: batch.id(),
            attempt: batch.attempt(),
            reason: batch.reason(),
            keys: batch.len(),
            inserts: batch.inserts(),
        }
    }

    fn tell_failed(&self, event: &FlushEvent<'_>, failed: &Failed, took: Duration) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let keys = match failed {
            Failed::Batch(..) => event.keys,
            Failed::Keys(failures) => failures.len(),
        };
        let failure = failed.failure();
        self.callbacks.observe(|observer| observer.flush_failed(event, keys, failure, took));
    }

    fn carry_out(&self, attempt: &Attempt<'_>, result: Result<(), Failed>) {
        match result {
            Ok(()) => {
                if let Presence::Here(content) = { self.flights.lock().content(attempt.sequence) } {
                    self.settle_flushed(attempt.sequence, (0..).zip(&content.entries));
                }
            }
            Err(Failed::Batch(outcome, failure)) => {
                if self.batch_failed(attempt, outcome, &failure) {
                    return;
                }
            }
            Err(Failed::Keys(failures)) => self.keys_failed(attempt, failures),
        }
        let content = self.flights.lock().remove(attempt.sequence);
        self.let_go(content);
    }

    /// Drops what is the user's, outside all locks and without taking the rest of the work along if
    /// a destructor panics.
    fn let_go<T>(&self, users: T) {
        let _ = self.callbacks.call(|| drop(users));
    }

    /// `None` if shutdown has taken the batch meanwhile.
    fn take_entries(&self, sequence: u64) -> Option<Placed<K, V>> {
        let content = self.flights.lock().take_content(sequence)?;
        Some((0..).zip(unwrap_soon(content).entries).collect())
    }

    /// One partition's entries stand together, so each partition is locked about once.
    fn settle_flushed<'a>(&self, sequence: u64, entries: impl Iterator<Item = (u32, &'a Entry<K, V>)>) {
        let tickets: Vec<Ticket> = entries.map(|(index, entry)| entry.ticket(sequence, index)).collect();
        let runs = tickets.chunk_by(|a, b| a.partition == b.partition);
        for run in runs.flat_map(|run| run.chunks(Self::HOLD)) {
            let mut settlement = Settlement { keys: Vec::with_capacity(run.len()), ..Settlement::default() };
            let mut shard = self.shard(run[0].partition as usize);
            for ticket in run {
                shard.settle(ticket, Settled::Flushed, &mut settlement);
            }
            drop(shard);
            self.follow_settlement(settlement, None);
        }
    }

    /// The whole batch failed: the same again, halves, or the end. True if the batch lives on.
    fn batch_failed(&self, attempt: &Attempt<'_>, outcome: Outcome, failure: &FlushFailure) -> bool {
        let again = self.config.retry.allows_another(attempt.event.attempt);
        let splits = match outcome {
            Outcome::NeverApplied => true,
            Outcome::NotApplied => !self.flights.lock().is_frozen(attempt.sequence),
            Outcome::Unknown | Outcome::Fatal => false,
        };
        if splits && attempt.event.keys > 1 {
            let wait = if again { self.backoff(attempt.event.attempt) } else { Duration::ZERO };
            self.halve(attempt, wait, failure);
            return false;
        }
        if again && outcome != Outcome::Fatal {
            let wait = self.backoff(attempt.event.attempt);
            self.tell_retried(&attempt.event, wait);
            let mut flights = self.flights.lock();
            let until = self.end_of_backoff(wait);
            flights.back_off(attempt.sequence, until, outcome);
            return true;
        }
        for (index, entry) in self.take_entries(attempt.sequence).into_iter().flatten() {
            self.give_up(attempt, index, entry, failure);
        }
        false
    }

    /// Nothing of the batch was applied and some key of it may be to blame: each half goes on as a
    /// batch of its own. When attempts are spent each half still gets one, so that in the end only
    /// the key to blame is given up.
    fn halve(&self, attempt: &Attempt<'_>, wait: Duration, failure: &FlushFailure) {
        let halves = {
            let _assembly = self.assembly.lock();
            let Some(mut first) = self.take_entries(attempt.sequence) else { return };
            let second = first.split_off(first.len() / 2);
            [first, second].map(|half| self.go_on_as_part(attempt, half, wait, failure))
        };
        halves.iter().for_each(|half| self.tell_retried(half, wait));
    }

    /// These keys failed, each in its own way, and the others are done.
    fn keys_failed(&self, attempt: &Attempt<'_>, failures: Vec<(usize, Outcome, FlushFailure)>) {
        let again = self.config.retry.allows_another(attempt.event.attempt);
        // Chance is drawn here: the schedule's lock comes before the assembly's.
        let plan = |(index, outcome, failure)| {
            let retries = again && outcome != Outcome::Fatal;
            (index as u32, (retries.then(|| self.backoff(attempt.event.attempt)), failure))
        };
        let mut plans: BTreeMap<_, _> = failures.into_iter().map(plan).collect();
        let (mut parts, mut given_up) = (Vec::new(), Vec::new());
        let flushed: Placed<K, V> = {
            let _assembly = self.assembly.lock();
            let Some(entries) = self.take_entries(attempt.sequence) else { return };
            let (failed, flushed): (Placed<K, V>, Placed<K, V>) =
                entries.into_iter().partition(|(index, _)| plans.contains_key(index));
            for (index, entry) in failed {
                match plans.remove(&index) {
                    Some((Some(wait), failure)) => {
                        parts.push((self.go_on_as_part(attempt, vec![(index, entry)], wait, &failure), wait));
                    }
                    Some((None, failure)) => given_up.push((index, entry, failure)),
                    None => {}
                }
            }
            flushed
        };
        self.settle_flushed(attempt.sequence, flushed.iter().map(|(index, entry)| (*index, entry)));
        parts.iter().for_each(|(part, wait)| self.tell_retried(part, *wait));
        for (index, entry, failure) in given_up {
            self.give_up(attempt, index, entry, &failure);
        }
    }

    /// Makes a new batch of some entries of a failed one. The assembly lock is held.
    fn go_on_as_part<'a>(
        &self,
        attempt: &Attempt<'a>,
        part: Placed<K, V>,
        wait: Duration,
        failure: &FlushFailure,
    ) -> FlushEvent<'a> {
        let sequence = self.flights.lock().reserve();
        let entries: Vec<Entry<K, V>> = (0..)
            .zip(part)
            .map(|(index, (old_index, entry))| {
                let mut shard = self.shard(entry.partition as usize);
                shard.rebook(entry.hash, (attempt.sequence, old_index), (sequence, index));
                entry
            })
            .collect();
        let id = self.batch_id(sequence);
        let inserts = entries.iter().map(Entry::count).sum();
        let (keys, reason) = (entries.len(), entries[0].reason);
        let content = Arc::new(Content { id, entries });
        let mut flights = self.flights.lock();
        let until = self.end_of_backoff(wait);
        flights.back_off_part(sequence, content, attempt.event.attempt, until, failure.clone());
        FlushEvent { batch: id, keys, inserts, reason, ..attempt.event }
    }

    fn backoff(&self, attempts: u32) -> Duration {
        let wait = self.config.retry.wait(attempts, self.chance());
        if self.life.phase() == Phase::Open { wait } else { wait.min(DRAINING_BACKOFF) }
    }

    /// When a wait ends that begins now. Called under the flights' lock: if shutdown has not yet
    /// hurried those that wait, it will find this one too.
    fn end_of_backoff(&self, wait: Duration) -> Tick {
        let draining = self.life.phase() > Phase::Open;
        let wait = if draining { wait.min(DRAINING_BACKOFF) } else { wait };
        tick::ceil(self.clock.now().saturating_add(wait))
    }

    fn tell_retried(&self, event: &FlushEvent<'_>, wait: Duration) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.callbacks.observe(|observer| observer.flush_retried(event, wait));
    }

    /// Hands one key to `handle_error` and does with it as that says.
    fn give_up(&self, attempt: &Attempt<'_>, index: u32, entry: Entry<K, V>, failure: &FlushFailure) {
        let attempts = attempt.event.attempt;
        let ticket = entry.ticket(attempt.sequence, index);
        let reason = entry.reason;
        let (name, count) = (&self.config.name, entry.count);
        self.callbacks.observe(|observer| observer.gave_up(name, count, attempts, failure));
        match self.callbacks.handle_error(entry, attempt.event.batch, attempts, failure) {
            Handled::Done => drop(self.settle_failed(&ticket, Settled::GaveUp, failure)),
            Handled::Requeue(data) => self.requeue(attempt, &ticket, reason, data, failure),
            Handled::Panicked(entry) => {
                self.settle_failed(&ticket, Settled::Kept, failure);
                self.keep(entry, attempt.event.batch, attempts, failure);
            }
        }
    }

    /// Returns the table's own copy of the key.
    fn settle_failed(&self, ticket: &Ticket, how: Settled, failure: &FlushFailure) -> Option<K> {
        let mut settlement = Settlement::default();
        self.shard(ticket.partition as usize).settle(ticket, how, &mut settlement);
        let key = settlement.keys.pop();
        self.follow_settlement(settlement, Some(failure));
        key
    }

    fn requeue(
        &self,
        attempt: &Attempt<'_>,
        ticket: &Ticket,
        reason: FlushReason,
        data: V,
        failure: &FlushFailure,
    ) {
        let now = self.clock.now();
        let mut shard = self.shard(ticket.partition as usize);
        if shard.is_open() {
            // Merging is the user's code and may panic; the other keys of the batch must not suffer.
            let mut settlement = Settlement::default();
            let _ = self.callbacks.call(|| {
                shard.requeue(ticket, data, now, |key| self.spot(key).hash, &mut settlement);
            });
            drop(shard);
            self.follow_settlement(settlement, Some(failure));
            return;
        }
        drop(shard);
        if let Some(key) = self.settle_failed(ticket, Settled::Kept, failure) {
            let Ticket { partition, hash, count, weight, .. } = *ticket;
            let entry = Entry { key, data, count, weight, reason, hash, partition };
            self.keep(entry, attempt.event.batch, attempt.event.attempt, failure);
        }
    }

    /// Keeps for `shutdown` what `handle_error` did not deal with.
    fn keep(&self, entry: Entry<K, V>, batch: BatchId, attempts: u32, failure: &FlushFailure) {
        let inserts = entry.count;
        let state = UndeliveredState::Unhandled { attempts, failure: failure.clone() };
        self.undelivered.lock().push(Undelivered::own(entry, Some(batch), state));
        self.callbacks.observe(|observer| observer.undelivered(&self.config.name, 1, inserts));
    }
}
