//! What happens when a driver runs a batch: the callback, and what follows from its result.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Key};
use super::future::{complete, race};
use super::giving_up::GivenUp;
use super::life::Phase;
use super::sink::Failed;
use super::sync::{Ordering, unwrap_soon};
use crate::aggregate::Aggregate;
use crate::batch::{Content, Entry, FlushBatch};
use crate::engine::flights::Presence;
use crate::engine::shard::{Settled, Settlement, Ticket};
use crate::engine::tick::{self, Tick};
use crate::failure::{FlushFailure, Outcome};
use crate::observer::FlushEvent;

/// While draining, a backoff lasts at most this long: shutdown does not wait for it, but does not
/// hammer the storage either.
const DRAINING_BACKOFF: Duration = Duration::from_millis(50);

/// One attempt to flush a batch.
pub(super) struct Attempt<'a> {
    pub(super) sequence: u64,
    pub(super) event: FlushEvent<'a>,
    started: Duration,
}

/// Entries with the places that they had in their batch.
type Placed<K, V> = Vec<(u32, Entry<K, V>)>;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Makes one attempt to flush a dispatched batch and carries out what follows. A sink that
    /// blocks does all of it in one poll. `cancelled` ends the callback, with an unknown outcome.
    ///
    /// Dropped half-way, because a runtime shuts down, it leaves everything accounted for.
    pub(crate) async fn run(&self, sequence: u64, cancelled: impl Future<Output = FlushFailure>) {
        let _occupied = OnDrop(|| {
            self.flights.lock().release_worker();
            self.doorbell.ring();
        });
        // Callbacks are contained already; this is for a key whose `Clone` panics.
        let _ = self.callbacks.contain(self.attempt(sequence, cancelled)).await;
    }

    /// As [`run`](Self::run), for a sink that blocks.
    pub(crate) fn run_blocking(&self, sequence: u64) {
        complete(self.run(sequence, pending()));
    }

    async fn attempt(&self, sequence: u64, cancelled: impl Future<Output = FlushFailure>) {
        let started = self.clock.now();
        let Some(batch) = self.begin(sequence, started) else { return };
        let event = self.event(&batch);
        let attempt = Attempt { sequence, event, started };
        self.callbacks.observe(|observer| observer.flush_started(&event));
        let airborne = Airborne { core: self, attempt: Some(&attempt) };
        let result = match race(self.callbacks.flush(&batch), cancelled).await {
            Ok(result) => result,
            Err(cancelled) => Err(Failed::Batch(Outcome::Unknown, cancelled)),
        };
        drop(batch);
        if airborne.land(&result) {
            self.carry_out(&attempt, result).await;
        }
    }

    /// `None` if shutdown has taken the batch meanwhile.
    fn begin(&self, sequence: u64, now: Duration) -> Option<FlushBatch<K, V>> {
        let (begun, settled_below) = {
            let mut flights = self.flights.lock();
            (flights.begin(sequence, now, self.config.flush_timeout), flights.settled_below())
        };
        let (content, attempt) = begun?;
        // The scheduler watches the flush timeout.
        self.doorbell.wake_by(tick::ceil(now.saturating_add(self.config.flush_timeout)));
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        Some(FlushBatch { content, attempt, settled_below })
    }

    /// The callback is back. False if shutdown has taken the batch meanwhile.
    fn land(&self, attempt: &Attempt<'_>, result: &Result<(), Failed>) -> bool {
        let took = self.clock.now().saturating_sub(attempt.started);
        match result {
            Ok(()) => self.callbacks.observe(|observer| observer.flush_succeeded(&attempt.event, took)),
            Err(failed) => self.tell_failed(&attempt.event, failed, took),
        }
        let failure = result.as_ref().err().map(|failed| failed.failure().clone());
        let landed = self.flights.lock().landed(attempt.sequence, failure);
        if !landed {
            self.counters.late.fetch_add(1, Ordering::Relaxed);
        }
        landed
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

    async fn carry_out(&self, attempt: &Attempt<'_>, result: Result<(), Failed>) {
        let given_up = match result {
            Ok(()) => {
                if let Presence::Here(content) = { self.flights.lock().content(attempt.sequence) } {
                    self.settle_flushed(attempt.sequence, (0..).zip(&content.entries));
                }
                Vec::new()
            }
            Err(Failed::Batch(outcome, failure)) => match self.batch_failed(attempt, outcome, failure) {
                BatchFate::LivesOn => return,
                BatchFate::Over(given_up) => given_up,
            },
            Err(Failed::Keys(failures)) => self.keys_failed(attempt, failures),
        };
        self.give_up(attempt, given_up).await;
    }

    /// Drops what is the user's, outside all locks and without taking the rest of the work along if
    /// a destructor panics.
    pub(super) fn let_go<T>(&self, users: T) {
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
            self.shard(run[0].partition as usize).settle(run, Settled::Flushed, &mut settlement);
            self.follow_settlement(settlement, None);
        }
    }

    /// The whole batch failed: the same again, halves, or the end.
    fn batch_failed(
        &self,
        attempt: &Attempt<'_>,
        outcome: Outcome,
        failure: FlushFailure,
    ) -> BatchFate<K, V> {
        let again = self.config.retry.allows_another(attempt.event.attempt);
        let splits = match outcome {
            Outcome::NeverApplied => true,
            Outcome::NotApplied => !self.flights.lock().is_frozen(attempt.sequence),
            Outcome::Unknown | Outcome::Fatal => false,
        };
        if splits && attempt.event.keys > 1 {
            let wait = if again { self.backoff(attempt.event.attempt) } else { Duration::ZERO };
            self.halve(attempt, wait, &failure);
            return BatchFate::Over(Vec::new());
        }
        if again && outcome != Outcome::Fatal {
            let wait = self.backoff(attempt.event.attempt);
            self.tell_retried(&attempt.event, wait);
            let mut flights = self.flights.lock();
            let until = self.end_of_backoff(wait);
            flights.back_off(attempt.sequence, until, outcome);
            return BatchFate::LivesOn;
        }
        let entries = self.take_entries(attempt.sequence).into_iter().flatten();
        let give_up = |(index, entry)| GivenUp { index, entry, failure: failure.clone() };
        BatchFate::Over(entries.map(give_up).collect())
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

    /// These keys failed, each in its own way, and the others are done. Returns those that are not
    /// to be tried again.
    fn keys_failed(
        &self,
        attempt: &Attempt<'_>,
        failures: Vec<(usize, Outcome, FlushFailure)>,
    ) -> Vec<GivenUp<K, V>> {
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
            let Some(entries) = self.take_entries(attempt.sequence) else { return given_up };
            let (failed, flushed): (Placed<K, V>, Placed<K, V>) =
                entries.into_iter().partition(|(index, _)| plans.contains_key(index));
            for (index, entry) in failed {
                match plans.remove(&index) {
                    Some((Some(wait), failure)) => {
                        parts.push((self.go_on_as_part(attempt, vec![(index, entry)], wait, &failure), wait));
                    }
                    Some((None, failure)) => given_up.push(GivenUp { index, entry, failure }),
                    None => {}
                }
            }
            flushed
        };
        self.settle_flushed(attempt.sequence, flushed.iter().map(|(index, entry)| (*index, entry)));
        parts.iter().for_each(|(part, wait)| self.tell_retried(part, *wait));
        given_up
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
}

/// What becomes of a batch that has failed as a whole.
enum BatchFate<K, V> {
    /// It will be sent again.
    LivesOn,
    /// It is split, or these keys are to be given up.
    Over(Vec<GivenUp<K, V>>),
}

/// An attempt while the callback is at work.
struct Airborne<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    /// `None` once it has landed.
    attempt: Option<&'a Attempt<'a>>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Airborne<'_, K, V, S> {
    /// False if shutdown has taken the batch meanwhile.
    fn land(mut self, result: &Result<(), Failed>) -> bool {
        self.attempt.take().is_some_and(|attempt| self.core.land(attempt, result))
    }
}

/// Dropped in the air, because the runtime shuts down: whether it was applied is not known.
#[cfg(feature = "tokio")]
impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Airborne<'_, K, V, S> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let cancelled = Err(Failed::Batch(Outcome::Unknown, FlushFailure::Cancelled));
        if self.core.land(attempt, &cancelled) {
            let now = self.core.now_tick();
            self.core.flights.lock().back_off(attempt.sequence, now, Outcome::Unknown);
        }
    }
}

/// Does something when it is dropped, also by a panic or with a future that is given up.
pub(super) struct OnDrop<F: FnMut()>(pub(super) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
