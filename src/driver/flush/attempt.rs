//! What happens when a worker makes an attempt: the callback, and what follows from its result.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::hash::BuildHasher;
use std::time::Duration;

use super::Held;
use super::parts::{After, latest};
use super::undelivered::Conclusion;
use crate::aggregate::Aggregate;
use crate::batch::{Content, FlushBatch};
use crate::dead_letter::About;
use crate::driver::core::Core;
use crate::driver::sync::{Ordering, unwrap_soon};
use crate::driver::user::future::{complete, race};
use crate::driver::wait::life::Phase;
use crate::engine::flights::{Flights, Past, Presence, Standing, Started};
use crate::engine::retry::{self, Next};
use crate::engine::sequence::Sequence;
use crate::engine::tick::{self, Tick};
use crate::failure::{Effect, FailedEntry, Failure, FailureCause, Scope};
use crate::key::Key;
use crate::observer::FlushEvent;

/// Batches stay whole when so many attempts in a row have failed for each that there may be at once.
const WHOLE_AFTER: usize = 4;

/// An attempt that a worker has to make.
pub(crate) type Job<K, V> = Started<Held<K, V>>;

/// One attempt to flush a batch.
struct Attempt<'a> {
    event: FlushEvent<'a>,
    started: Duration,
}

impl Attempt<'_> {
    fn sequence(&self) -> Sequence {
        Sequence::of(self.event.batch)
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// The next attempt that a worker has to make. `None`: it is dismissed.
    pub(crate) fn next_job(&self) -> Option<Job<K, V>> {
        let now = self.clock.now();
        let (job, fresh, active) = {
            let mut flights = self.dispatch.flights.lock();
            (flights.start_next(now, self.settings.flushing.timeout), flights.fresh(), flights.active())
        };
        // The scheduler fetches more before there is none left, and looks when all is done.
        if self.is_time_to_fetch(fresh) || active == 0 {
            self.dispatch.doorbell.ring();
        }
        let job = job?;
        // The scheduler watches the flush timeout.
        self.dispatch.doorbell.wake_by(tick::ceil(now.saturating_add(self.settings.flushing.timeout)));
        self.counters.flushes.fetch_add(u64::from(job.doomed.is_none()), Ordering::Relaxed);
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
        let _working = self.dispatch.begin_work();
        while let Some(job) = self.next_job() {
            complete(self.run(job, pending()));
        }
    }

    async fn attempt(&self, job: Job<K, V>, cancelled: impl Future<Output = FailureCause>) {
        let Started { batch: content, attempt, settled_below, doomed } = job;
        if let Some(Past { attempts, cause, frozen: may_be_applied }) = doomed {
            let Content { id: batch, entries } = unwrap_soon(content);
            return self
                .give_up(entries, About { batch, epoch: self.epoch, attempts, cause, may_be_applied })
                .await;
        }
        let batch = FlushBatch { content, attempt, settled_below: settled_below.number(), epoch: self.epoch };
        let event = self.event(&batch);
        let attempt = Attempt { event, started: self.clock.now() };
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
        let now = self.clock.now();
        let took = now.saturating_sub(attempt.started);
        match result {
            Ok(()) => {
                self.dispatch.trouble.succeeded();
                self.callbacks.observe(|observer| observer.flush_succeeded(&attempt.event, took));
            }
            Err(failed) => {
                let wholly = matches!(failed, Scope::Batch(_));
                self.dispatch.trouble.failed(failed.cause(), wholly, now);
                self.tell_failed(&attempt.event, failed, took);
            }
        }
        let failed = result.as_ref().err().map(|failed| (failed.effect(), failed.cause().clone()));
        let landed = {
            let mut flights = self.dispatch.flights.lock();
            flights.answered(matches!(result, Err(Scope::Batch(failure)) if failure.blames_nobody()));
            flights.landed(attempt.sequence(), failed)
        };
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
        let content = {
            let mut flights = self.dispatch.flights.lock();
            // Before its keys may fly again.
            flights.replaced(attempt.sequence());
            flights.content(attempt.sequence())
        };
        if let Presence::Here(content) = content {
            self.settle_flushed(attempt.sequence(), &content.entries);
        }
        self.end_flight(attempt.sequence());
    }

    /// What the policy says to a failure of so many keys.
    fn next(&self, attempt: &Attempt<'_>, failure: &Failure, keys: usize, frozen: bool) -> Next {
        let draining = self.life.phase() > Phase::Open;
        let mut failed =
            retry::Attempt { number: attempt.event.attempt, keys, frozen, draining, whole: false };
        failed.whole = failed.may_halve(failure) && self.stays_whole();
        self.settings.retry.next(failure, failed, self.dispatch.chance())
    }

    /// Whether a batch that failed is better not split, because nothing gets through.
    fn stays_whole(&self) -> bool {
        let attempts = WHOLE_AFTER * self.settings.flushing.concurrency;
        let (now, wait) = (self.clock.now(), self.settings.retry.first_wait());
        self.dispatch.flights.lock().stays_whole(attempts, now, wait)
    }

    /// The whole batch failed: the same again, parts of it, or the end.
    async fn batch_failed(&self, attempt: &Attempt<'_>, failure: Failure) {
        let frozen = self.dispatch.flights.lock().is_frozen(attempt.sequence());
        match self.next(attempt, &failure, attempt.event.keys, frozen) {
            Next::Again(wait) => {
                self.tell_retried(&attempt.event, wait);
                let mut flights = self.dispatch.flights.lock();
                let until = self.end_of_backoff(wait, attempt.event.attempt);
                flights.back_off(attempt.sequence(), until);
            }
            Next::Split(wait) => self.split(attempt, wait, &failure.cause),
            Next::GiveUp if self.journal.is_some() => self.doom(attempt.sequence()),
            Next::GiveUp => {
                let Some(entries) = self.take_entries(attempt.sequence()) else { return };
                self.give_up(entries, self.about(attempt, failure, frozen)).await;
            }
        }
    }

    /// The batch is to be given up when the journal knows that. After a crash `handle_error` gets it again, and
    /// the sink does not.
    fn doom(&self, sequence: Sequence) {
        let mut records = self.dispatch.assembly.lock();
        let mut flights = self.dispatch.flights.lock();
        let Some((content, past)) = flights.failed(sequence) else { return };
        records.hold(sequence, &content.entries, &Standing::GivenUp(past.clone()));
        records.note_batch(sequence, &content.entries, &Standing::GivenUp(past));
        drop(content);
        flights.doom(sequence);
        drop(flights);
        self.want_records(records);
    }

    /// Nothing of the batch was applied: each half goes on as a batch of its own, or all of it if it is one
    /// key only.
    fn split(&self, attempt: &Attempt<'_>, wait: Duration, cause: &FailureCause) {
        let parts = {
            let mut records = self.dispatch.assembly.lock();
            let Some(mut first) = self.take_entries(attempt.sequence()) else { return };
            let second = first.split_off(first.len() / 2);
            let parts = [first, second].into_iter().filter(|part| !part.is_empty());
            let parts = parts.map(|part| {
                let past = Past { attempts: attempt.event.attempt, cause: cause.clone(), frozen: false };
                self.part(&mut records, &attempt.event, part, (past, After::Sent), |flights, part| {
                    flights.back_off(part, self.end_of_backoff(wait, attempt.event.attempt));
                })
            });
            let parts = parts.collect::<Vec<_>>();
            self.dispatch.flights.lock().replaced(attempt.sequence());
            self.want_records(records);
            parts
        };
        self.end_flight(attempt.sequence());
        parts.iter().for_each(|part| self.tell_retried(part, wait));
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
            let mut records = self.dispatch.assembly.lock();
            let Some(entries) = self.take_entries(attempt.sequence()) else { return };
            let (failed, flushed): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|entry| plans.contains_key(&entry.index));
            for entry in failed {
                let Some((next, failure)) = plans.remove(&entry.index) else { continue };
                let frozen = failure.effect == Effect::Unknown;
                let past = Past { attempts: attempt.event.attempt, cause: failure.cause.clone(), frozen };
                let entry = vec![entry];
                if let Next::Again(wait) | Next::Split(wait) = next {
                    let sent = (past, After::Sent);
                    let event = self.part(&mut records, &attempt.event, entry, sent, |flights, part| {
                        flights.back_off(part, self.end_of_backoff(wait, attempt.event.attempt));
                    });
                    retried.push((event, wait));
                } else if self.journal.is_some() {
                    self.part(&mut records, &attempt.event, entry, (past, After::GivenUp), Flights::doom);
                } else {
                    let given_up_now = (past, After::Sent);
                    let part = self.part(&mut records, &attempt.event, entry, given_up_now, |_, _| ());
                    given_up.push(About { batch: part.batch, ..self.about(attempt, failure, false) });
                }
            }
            self.dispatch.flights.lock().replaced(attempt.sequence());
            self.want_records(records);
            flushed
        };
        self.settle_flushed(attempt.sequence(), &flushed);
        self.callbacks.let_go(flushed);
        self.end_flight(attempt.sequence());
        retried.iter().for_each(|(event, wait)| self.tell_retried(event, *wait));
        self.give_up_each(given_up).await;
    }

    /// Gives up batches of one entry each.
    async fn give_up_each(&self, given_up: Vec<About>) {
        let mut to_give_up = ToGiveUp { core: self, left: given_up.into_iter() };
        for about in to_give_up.left.by_ref() {
            let Some(entries) = self.take_entries(Sequence::of(about.batch)) else { continue };
            self.give_up(entries, about).await;
        }
    }

    fn about(&self, attempt: &Attempt<'_>, failure: Failure, frozen: bool) -> About {
        let may_be_applied = failure.effect.may_be_applied(frozen);
        let (batch, attempts) = (attempt.event.batch, attempt.event.attempt);
        About { batch, epoch: self.epoch, attempts, cause: failure.cause, may_be_applied }
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
            self.core.dispatch.flights.lock().back_off(attempt.sequence(), now);
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
            let Some(entries) = self.core.take_entries(Sequence::of(about.batch)) else { continue };
            let (back, gone) = (Vec::new(), Vec::new());
            self.core.conclude(&about, Conclusion { back, kept: entries, gone, whole: true }, None);
        }
    }
}
