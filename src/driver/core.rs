//! The middle of a buffer: what neither the way in nor the way out owns.

use std::hash::BuildHasher;
use std::time::Duration;

use super::clock::Clock;
use super::flush::Dispatch;
use super::flush::doorbell::Doorbell;
use super::fork::ForkGuard;
use super::intake::Intake;
use super::journal::{Journal, Records};
use super::sync::{AtomicBool, AtomicU64, Mutex};
use super::user::callbacks::Callbacks;
use super::user::context::{self, Barred};
use super::wait::life::Life;
use super::wait::waiter::WaiterRef;
use crate::aggregate::Aggregate;
use crate::engine::shard::{Host, Settlement};
use crate::engine::tick;
use crate::failure::FailureCause;
use crate::key::{KeptHash, Key};
use crate::settings::Settings;
use crate::undelivered::Leftovers;

/// How long to wait before trying again what could not be done.
const SECOND_TRY: Duration = Duration::from_millis(100);

/// A running buffer without its threads.
///
/// Locks, in the order in which they may be held together: the journal's file, those of [`Dispatch`], the intake's
/// `former` and `recalling`, then one partition; a waiter's own lock last. No two partitions at once,
/// and no user code under any of them but the key's and the aggregate's own methods.
pub(crate) struct Core<K, V, S> {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) instance: u64,
    /// How often the instance was started.
    pub(crate) epoch: u64,
    /// Made by the process that runs this.
    fork_guard: ForkGuard,
    #[cfg(any(feature = "test-util", feature = "tokio"))]
    pub(crate) driver: Driver,
    /// What was accepted, on disk.
    pub(crate) journal: Option<Journal<K, V>>,
    /// The way in.
    pub(crate) intake: Intake<K, V, S>,
    /// The way out.
    pub(crate) dispatch: Dispatch<K, V>,
    pub(crate) callbacks: Callbacks<K, V>,
    pub(crate) life: Life,
    /// Guards those who wait for flushes at this moment.
    pub(crate) waiters: Mutex<Vec<WaiterRef>>,
    /// Guards what shutdown hands back and nobody has fetched yet.
    pub(crate) left: Mutex<Leftovers<K, V>>,
    pub(crate) counters: Counters,
    /// No handle is left that could be told anything. Relaxed: set before the doorbell's lock.
    pub(crate) orphaned: AtomicBool,
}

/// Statistics that belong to no partition. All relaxed: nothing is ordered by them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejected: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) overdue: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) returned: AtomicU64,
}

/// Who does a buffer's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The threads that all buffers share.
    Threads,
    /// There is nobody: calls that wait do the work.
    #[cfg(feature = "test-util")]
    Inline,
    /// Tasks of a runtime: a thread of it must not wait for them.
    #[cfg(feature = "tokio")]
    Runtime,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    pub(crate) fn new(
        settings: Settings,
        clock: Clock,
        hasher: S,
        callbacks: Callbacks<K, V>,
        instance: u64,
        journal: Option<Journal<K, V>>,
        driver: Driver,
    ) -> Self {
        let doorbell = match driver {
            Driver::Threads => Doorbell::for_threads(),
            #[cfg(feature = "test-util")]
            Driver::Inline => Doorbell::for_nobody(),
            #[cfg(feature = "tokio")]
            Driver::Runtime => Doorbell::for_a_task(),
        };
        let epoch = journal.as_ref().map_or(1, |journal| journal.epoch);
        let records = Records::new(journal.as_ref().map(Journal::codec));
        Core {
            intake: Intake::new(&settings, hasher, instance, journal.is_some()),
            dispatch: Dispatch::new(settings.seed.unwrap_or(instance), doorbell, records),
            journal,
            life: Life::new(),
            waiters: Mutex::new(Vec::new()),
            left: Mutex::new(Leftovers::default()),
            counters: Counters::default(),
            orphaned: AtomicBool::new(false),
            settings,
            clock,
            instance,
            epoch,
            fork_guard: ForkGuard::default(),
            #[cfg(any(feature = "test-util", feature = "tokio"))]
            driver,
            callbacks,
        }
    }

    /// Whether nobody works for the buffer but calls that wait.
    pub(crate) fn is_inline(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.driver == Driver::Inline;
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Something has changed that the journal is to write. Called without any partition's lock.
    #[inline]
    pub(crate) fn note_change(&self) {
        if let Some(journal) = &self.journal {
            journal.progress.note_change(&self.clock, journal.window);
        }
    }

    /// Whether an insert may be made here.
    #[inline]
    pub(crate) fn may_insert(&self) -> Result<(), Barred> {
        if Intake::<K, V, S>::DROPS {
            return self.may_call();
        }
        if self.is_fork() { Err(Barred::Forked) } else { Ok(()) }
    }

    /// Whether any call may be made here.
    #[inline]
    pub(crate) fn may_call(&self) -> Result<(), Barred> {
        if self.is_fork() {
            Err(Barred::Forked)
        } else if context::is_under_lock_of(self.instance) {
            Err(Barred::UnderLock)
        } else {
            Ok(())
        }
    }

    /// For calls that have no error to return.
    pub(crate) fn must_call(&self) {
        let name = &self.settings.name;
        match self.may_call() {
            Ok(()) => {}
            Err(Barred::Forked) => panic!(
                "the buffer `{name}` belongs to the process that this one was forked from: start another one here"
            ),
            Err(Barred::UnderLock) => {
                panic!(
                    "the buffer `{name}` was called by code that runs under a lock of it, such as an item's drop"
                )
            }
        }
    }

    /// Carries out what settling generations set free or in motion. Called without any lock.
    pub(crate) fn follow_settlement(
        &self,
        settlement: Settlement<K, WaiterRef>,
        failure: Option<&FailureCause>,
    ) {
        self.intake.give_room(settlement.freed);
        if settlement.due {
            self.dispatch.doorbell().ring();
        }
        if let Some(tick) = settlement.armed {
            self.dispatch.doorbell().wake_by(tick);
        }
        settlement.reached.iter().for_each(|(waiter, generations)| waiter.reach(*generations, failure));
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Host<K, V> for Core<K, V, S> {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn interval(&self, key: &K, data: &V, now: Duration) -> Option<Duration> {
        self.callbacks.interval(key, data, now)
    }

    fn hash(&self, key: &K) -> KeptHash {
        self.intake.kept_hash(key)
    }
}

impl<K, V, S> Core<K, V, S> {
    /// Whether this process was forked from the one that runs the buffer.
    #[inline]
    pub(crate) fn is_fork(&self) -> bool {
        self.fork_guard.clone().detected_fork()
    }

    pub(crate) fn now_tick(&self) -> tick::Tick {
        tick::floor(self.clock.now())
    }

    /// When to try again what could not be done.
    pub(crate) fn soon(&self) -> tick::Tick {
        tick::ceil(self.clock.now() + SECOND_TRY)
    }
}
