//! The way out: what is due is put into batches, workers hand them to the sink, and what follows from the
//! answers is carried out.
//!
//! `schedule` says what is to be done and when. `attempt` makes one attempt and finds out what follows,
//! `giving_up` asks `handle_error`, `undelivered` keeps what that leaves; `parts` takes batches apart
//! and ends them. `spill` moves to disk what there is no room for.

mod attempt;
pub(crate) mod doorbell;
mod giving_up;
mod parts;
mod schedule;
mod spill;
mod trouble;
mod undelivered;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::journal::Records;
use super::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::batch::{Content, Entry};
use crate::engine::flights::{Flights, Presence, Stranded};
use crate::engine::sequence::Sequence;
use doorbell::Doorbell;
use spill::SpillWatch;
use trouble::Trouble;

pub(crate) use schedule::Plan;
pub(crate) use spill::Leaving;

/// How a batch's content is held.
pub(crate) type Held<K, V> = Arc<Content<K, V>>;

/// The batches in flight and the schedule.
///
/// Locks, in the order in which they may be held together: `scheduler`, `assembly`, then one
/// partition or `flights`.
pub(crate) struct Dispatch<K, V> {
    /// Guards the stages of all batches in flight.
    flights: Mutex<Flights<Held<K, V>>>,
    /// Guards what the scheduler remembers; held while it takes a step.
    scheduler: Mutex<SchedulerState<K, V>>,
    /// Held while a batch is put together or split. Whoever finds data in transit waits here. Guards what the journal
    /// is told.
    assembly: Mutex<Records<K, V>>,
    /// Guards the source of backoff jitter.
    random: Mutex<SmallRng>,
    /// Guards those who wait for what was on disk only when they asked. Locked after `flights`.
    spill_watches: Mutex<Vec<SpillWatch>>,
    doorbell: Doorbell,
    trouble: Trouble,
    hibernating: AtomicBool,
    workers: AtomicUsize,
}

/// What the scheduler remembers between two steps.
#[derive(Debug)]
struct SchedulerState<K, V> {
    /// The partition that the next survey starts with: where the last one stopped.
    surveyed: usize,
    /// The partition that the next batch starts with.
    cursor: usize,
    /// When statistics were told last.
    measured_at: Duration,
    /// Since when there has been nothing to do.
    idle_since: Option<Duration>,
    /// Where a batch is put together; kept for its memory.
    taken: Vec<Entry<K, V>>,
}

impl<K, V> Dispatch<K, V> {
    pub(crate) fn new(seed: u64, doorbell: Doorbell, records: Records<K, V>) -> Self {
        let scheduler = SchedulerState {
            surveyed: 0,
            cursor: 0,
            measured_at: Duration::ZERO,
            idle_since: None,
            taken: Vec::new(),
        };
        Dispatch {
            flights: Mutex::new(Flights::new(records.is_on())),
            scheduler: Mutex::new(scheduler),
            assembly: Mutex::new(records),
            random: Mutex::new(SmallRng::seed_from_u64(!seed)),
            spill_watches: Mutex::new(Vec::new()),
            doorbell,
            trouble: Trouble::default(),
            hibernating: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
        }
    }

    pub(crate) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// What is to be seen of a batch.
    pub(crate) fn content(&self, sequence: Sequence) -> Presence<Held<K, V>> {
        self.flights.lock().content(sequence)
    }

    /// While this lives no batch is put together, split or put aside.
    pub(crate) fn pause_assembly(&self) -> MutexGuard<'_, Records<K, V>> {
        self.assembly.lock()
    }

    /// The stages of all batches in flight. Locked after the assembly, if both are.
    pub(crate) fn flights(&self) -> MutexGuard<'_, Flights<Held<K, V>>> {
        self.flights.lock()
    }

    /// How many workers are busy, or are about to be.
    pub(crate) fn active(&self) -> usize {
        self.flights.lock().active()
    }

    /// Shutdown: readies everything that waits for a later attempt.
    pub(crate) fn hurry(&self) {
        self.flights.lock().hurry();
    }

    /// Shutdown's deadline: takes out everything except what is being settled at this moment, and says which
    /// batches that is.
    pub(crate) fn strand(&self) -> (Vec<Stranded<Held<K, V>>>, Vec<Sequence>) {
        let mut flights = self.flights.lock();
        (flights.strand(), flights.sequences().collect())
    }

    /// Takes out what is kept as undelivered.
    pub(crate) fn take_kept(&self) -> Vec<Stranded<Held<K, V>>> {
        self.flights.lock().take_kept()
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// While this lives there is one worker more.
    pub(crate) fn begin_work(&self) -> Working<'_> {
        self.workers.fetch_add(1, Ordering::Relaxed);
        Working(&self.workers)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    pub(crate) fn is_hibernating(&self) -> bool {
        self.hibernating.load(Ordering::Relaxed)
    }

    /// A uniformly random number in 0..1, for backoff jitter.
    fn chance(&self) -> f64 {
        self.random.lock().random()
    }
}

/// A worker at work.
#[derive(Debug)]
pub(crate) struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
