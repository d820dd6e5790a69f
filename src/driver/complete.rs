//! What happens when a worker makes an attempt: the callback, and what follows from its result.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::{AllFlights, Core};
use super::future::{complete, race};
use super::life::Phase;
use super::sync::{Ordering, unwrap_soon};
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry, FlushBatch};
use crate::dead_letter::About;
use crate::engine::flights::{Past, Presence, Started};
use crate::engine::retry::{self, Next};
use crate::engine::shard::{Settled, Settlement, Ticket};
use crate::engine::tick::{self, Tick};
use crate::failure::{Effect, FailedEntry, Failure, FailureCause, Scope};
use crate::key::Key;
use crate::observer::FlushEvent;

/// An attempt that a worker has to make.
pub(crate) type Job<K, V> = Started<Arc<Content<K, V>>>;

/// One attempt to flush a batch.
struct Attempt<'a> {
    sequence: u64,
    event: FlushEvent<'a>,
    started: Duration,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// The next attempt that a worker has to make. `None`: it is dismissed.
    pub(crate) fn next_job(&self) -> Option<Job<K, V>> {
        let now = self.clock.now();
        let (job, fresh, active) = {
            let mut flights = self.flights.lock();
            (flights.start_next(now, self.settings.flushing.timeout), flights.fresh(), flights.active())
        };
        // The scheduler fetches more before there is none left, and looks when all is done.
        if self.is_time_to_fetch(fresh) || active == 0 {
            self.doorbell.ring();
        }
        let job = job?;
        // The scheduler watches the flush timeout.
        self.doorbell.wake_by(tick::ceil(now.saturating_add(self.settings.flushing.timeout)));
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        Some(job)
    }

    /// Makes one attempt to flush a batch and carries out what follows. A sink that
    /// blocks does all of it in one poll. `cancelled` ends the callback, with an unknown outcome.
    ///
    /// Dropped half-way, because a runtime shuts down, it leaves everything accounted for.
    pub(crate) async fn run(&self, job: Job<K, V>, cancelled: impl Future<Output = FailureCause>) {
        // Callbacks are contained already; this is for a key whose `Clone` panics.
        let _ = self.callbacks.contain(self.attempt(job, cancelled)).await;
    }

    /// Works, for a sink that blocks, until there is nothing to do.
    pub(crate) fn work(&self) {
        while let Some(job) = self.next_job() {
            complete(self.run(job, pending()));
        }
    }

    async fn attempt(&self, job: Job<K, V>, cancelled: impl Future<Output = FailureCause>) {
        let Started { sequence, batch: content, attempt, settled_below } = job;
        let batch = FlushBatch { content, attempt, settled_below };
        let event = self.event(&batch);
        let attempt = Attempt { sequence, event, started: self.clock.now() };
        self.callbacks.observe(|observer| observer.flush_started(&event));
        let in_callback = InCallback { core: self, attempt: Some(&attempt) };
        let result = match race(self.callbacks.flush(&batch), cancelled).await {
            Ok(result) => result,
            Err(cancelled) => Err(Scope::Batch(Failure::unknown(cancelled))),
        };
        drop(batch);
        if !in_callback.land(&result) {
            return;
        }
        match result {
            Ok(()) => self.flushed(&attempt),
            Err(Scope::Batch(failure)) => self.batch_failed(&attempt, failure).await,
            Err(Scope::Entries(failed)) => self.entries_failed(&attempt, failed).await,
        }
    }

    /// The callback is back. False if shutdown has taken the batch meanwhile.
    fn land(&self, attempt: &Attempt<'_>, result: &Result<(), Scope>) -> bool {
        let took = self.clock.now().saturating_sub(attempt.started);
        match result {
            Ok(()) => self.callbacks.observe(|observer| observer.flush_succeeded(&attempt.event, took)),
            Err(failed) => self.tell_failed(&attempt.event, failed, took),
        }
        let failed = result.as_ref().err().map(|failed| (failed.effect(), failed.cause().clone()));
        let landed = self.flights.lock().landed(attempt.sequence, failed);
        if !landed {
            self.counters.late.fetch_add(1, Ordering::Relaxed);
        }
        landed
    }

    fn event(&self, batch: &FlushBatch<K, V>) -> FlushEvent<'_> {
        FlushEvent {
            buffer: &self.settings.name,
            batch: batch.id(),
            attempt: batch.attempt(),
            reason: batch.reason(),
            keys: batch.len(),
            inserts: batch.inserts(),
            late: latest(batch.entries()),
        }
    }

    fn tell_failed(&self, event: &FlushEvent<'_>, failed: &Scope, took: Duration) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let keys = match failed {
            Scope::Batch(_) => event.keys,
            Scope::Entries(failed) => failed.len(),
        };
        let cause = failed.cause();
        self.callbacks.observe(|observer| observer.flush_failed(event, keys, cause, took));
    }

    /// The sink has all of it.
    fn flushed(&self, attempt: &Attempt<'_>) {
        if let Presence::Here(content) = { self.flights.lock().content(attempt.sequence) } {
            self.settle_flushed(attempt.sequence, &content.entries);
        }
        self.end_flight(attempt.sequence);
    }

    /// The batch is over.
    pub(super) fn end_flight(&self, sequence: u64) {
        let content = self.flights.lock().remove(sequence);
        self.let_go(content);
    }

    /// Drops what is the user's, outside all locks and without taking the rest of the work along if
    /// a destructor panics.
    pub(super) fn let_go<T>(&self, users: T) {
        let _ = self.callbacks.call(|| drop(users));
    }

    /// `None` if shutdown has taken the batch meanwhile.
    pub(super) fn take_entries(&self, sequence: u64) -> Option<Vec<Entry<K, V>>> {
        let content = self.flights.lock().take_content(sequence)?;
        Some(unwrap_soon(content).entries)
    }

    /// One partition's entries stand together, so each partition is locked about once.
    fn settle_flushed(&self, sequence: u64, entries: &[Entry<K, V>]) {
        let tickets: Vec<Ticket> = entries.iter().map(|entry| entry.ticket(sequence)).collect();
        let runs = tickets.chunk_by(|a, b| a.partition == b.partition);
        for run in runs.flat_map(|run| run.chunks(Self::HOLD)) {
            let mut settlement = Settlement { keys: Vec::with_capacity(run.len()), ..Settlement::default() };
            self.shard(run[0].partition as usize).settle(run, Settled::Flushed, &mut settlement);
            self.follow_settlement(settlement, None);
        }
    }

    /// What the policy says to a failure of so many keys.
    fn next(&self, attempt: &Attempt<'_>, failure: &Failure, keys: usize, frozen: bool) -> Next {
        let draining = self.life.phase() > Phase::Open;
        let failed = retry::Attempt { number: attempt.event.attempt, keys, frozen, draining };
        self.settings.retry.next(failure, failed, self.chance())
    }

    /// The whole batch failed: the same again, halves, or the end.
    async fn batch_failed(&self, attempt: &Attempt<'_>, failure: Failure) {
        let frozen = self.flights.lock().is_frozen(attempt.sequence);
        match self.next(attempt, &failure, attempt.event.keys, frozen) {
            Next::Again(wait) => {
                self.tell_retried(&attempt.event, wait);
                let mut flights = self.flights.lock();
                let until = self.end_of_backoff(wait, attempt.event.attempt);
                flights.back_off(attempt.sequence, until);
            }
            Next::Halve(wait) => self.halve(attempt, wait, &failure.cause),
            Next::GiveUp => {
                let Some(entries) = self.take_entries(attempt.sequence) else { return };
                self.give_up(entries, self.about(attempt, failure, frozen)).await;
            }
        }
    }

    /// Nothing of the batch was applied: each half goes on as a batch of its own.
    fn halve(&self, attempt: &Attempt<'_>, wait: Duration, cause: &FailureCause) {
        let halves = {
            let _assembly = self.assembly.lock();
            let Some(mut first) = self.take_entries(attempt.sequence) else { return };
            let second = first.split_off(first.len() / 2);
            [first, second].map(|half| {
                let past = Past { attempts: attempt.event.attempt, cause: cause.clone(), frozen: false };
                self.part(attempt, half, past, |flights, part| {
                    flights.back_off(part, self.end_of_backoff(wait, attempt.event.attempt));
                })
            })
        };
        self.end_flight(attempt.sequence);
        halves.iter().for_each(|half| self.tell_retried(half, wait));
    }

    /// These entries failed, each in its own way, and the others are done. Each goes on as a batch of its
    /// own.
    async fn entries_failed(&self, attempt: &Attempt<'_>, failed: Vec<FailedEntry>) {
        // Chance is drawn here: the schedule's lock comes before the assembly's.
        let plan = |FailedEntry { index, failure }| {
            let next = self.next(attempt, &failure, 1, false);
            (index, (next, failure))
        };
        let mut plans: BTreeMap<u32, (Next, Failure)> = failed.into_iter().map(plan).collect();
        let (mut retried, mut given_up) = (Vec::new(), Vec::new());
        let flushed = {
            let _assembly = self.assembly.lock();
            let Some(entries) = self.take_entries(attempt.sequence) else { return };
            let (failed, flushed): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|entry| plans.contains_key(&entry.index));
            for entry in failed {
                let Some((next, failure)) = plans.remove(&entry.index) else { continue };
                let frozen = failure.effect == Effect::Unknown;
                let past = Past { attempts: attempt.event.attempt, cause: failure.cause.clone(), frozen };
                let entry = vec![entry];
                if let Next::Again(wait) | Next::Halve(wait) = next {
                    let event = self.part(attempt, entry, past, |flights, part| {
                        flights.back_off(part, self.end_of_backoff(wait, attempt.event.attempt));
                    });
                    retried.push((event, wait));
                } else {
                    let batch = self.part(attempt, entry, past, |_, _| ()).batch;
                    given_up.push(About { batch, ..self.about(attempt, failure, false) });
                }
            }
            flushed
        };
        self.settle_flushed(attempt.sequence, &flushed);
        self.let_go(flushed);
        self.end_flight(attempt.sequence);
        retried.iter().for_each(|(event, wait)| self.tell_retried(event, *wait));
        self.give_up_each(given_up).await;
    }

    /// Gives up batches of one entry each.
    async fn give_up_each(&self, given_up: Vec<About>) {
        let mut to_give_up = ToGiveUp { core: self, left: given_up.into_iter() };
        for about in to_give_up.left.by_ref() {
            let Some(entries) = self.take_entries(about.batch.sequence) else { continue };
            self.give_up(entries, about).await;
        }
    }

    fn about(&self, attempt: &Attempt<'_>, failure: Failure, frozen: bool) -> About {
        let may_be_applied = failure.effect.may_be_applied(frozen);
        let (batch, attempts) = (attempt.event.batch, attempt.event.attempt);
        About { batch, attempts, cause: failure.cause, may_be_applied }
    }

    /// Makes a new batch of some entries of a failed one, and says what is to be done with it. The
    /// assembly lock is held.
    fn part<'a>(
        &self,
        attempt: &Attempt<'a>,
        mut entries: Vec<Entry<K, V>>,
        past: Past,
        go_on: impl FnOnce(&mut AllFlights<K, V>, u64),
    ) -> FlushEvent<'a> {
        let sequence = self.flights.lock().reserve(1);
        for (index, entry) in (0..).zip(&mut entries) {
            let mut shard = self.shard(entry.partition as usize);
            shard.rebook(entry.hash, (attempt.sequence, entry.index), (sequence, index));
            entry.index = index;
        }
        let id = self.batch_id(sequence);
        let inserts = entries.iter().map(Entry::count).sum();
        let (keys, reason, late) = (entries.len(), entries[0].reason, latest(&entries));
        let content = Arc::new(Content { id, entries });
        let mut flights = self.flights.lock();
        flights.be_part(sequence, content, past);
        go_on(&mut flights, sequence);
        FlushEvent { batch: id, keys, inserts, reason, late, ..attempt.event }
    }

    /// When a wait ends that begins now. Called under the flights' lock: if shutdown has not yet
    /// hurried those that wait, it will find this one too.
    fn end_of_backoff(&self, wait: Duration, attempts: u32) -> Tick {
        let draining = self.life.phase() > Phase::Open;
        let wait = if draining { wait.min(retry::draining_wait(attempts)) } else { wait };
        tick::ceil(self.clock.now().saturating_add(wait))
    }

    fn tell_retried(&self, event: &FlushEvent<'_>, wait: Duration) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.callbacks.observe(|observer| observer.flush_retried(event, wait));
    }
}

/// How late the latest of them was taken.
fn latest<K, V>(entries: &[Entry<K, V>]) -> Duration {
    let late = entries.iter().map(|entry| entry.late).max().unwrap_or(0);
    Duration::from_millis(late.into())
}

/// An attempt while the callback is at work.
struct InCallback<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    /// `None` once it has landed.
    attempt: Option<&'a Attempt<'a>>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> InCallback<'_, K, V, S> {
    /// False if shutdown has taken the batch meanwhile.
    fn land(mut self, result: &Result<(), Scope>) -> bool {
        self.attempt.take().is_some_and(|attempt| self.core.land(attempt, result))
    }
}

/// Dropped while the callback is at work, because the runtime shuts down: whether it was applied is not known.
#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, S: BuildHasher> Drop for InCallback<'_, K, V, S> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let cancelled = Err(Scope::Batch(Failure::unknown(FailureCause::Cancelled)));
        if self.core.land(attempt, &cancelled) {
            let now = self.core.now_tick();
            self.core.flights.lock().back_off(attempt.sequence, now);
        }
    }
}

/// Batches that are still to be given up. Dropped before that, because a runtime shuts down, it keeps
/// them.
struct ToGiveUp<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    left: std::vec::IntoIter<About>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for ToGiveUp<'_, K, V, S> {
    fn drop(&mut self) {
        for about in self.left.by_ref() {
            let Some(entries) = self.core.take_entries(about.batch.sequence) else { continue };
            self.core.keep(entries, &about, true);
        }
    }
}

/// Does something when it is dropped, also by a panic or with a future that is given up.
#[cfg(feature = "tokio")]
pub(super) struct OnDrop<F: FnMut()>(pub(super) F);

#[cfg(feature = "tokio")]
impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
