use std::sync::OnceLock;
#[cfg(feature = "tokio")]
use std::time::Duration;

#[cfg(feature = "tokio")]
use crate::driver::clock::Clock;
use crate::driver::run::thread_pool::Membership;
use crate::driver::sync::{AtomicU64, Ordering};
#[cfg(feature = "tokio")]
use crate::driver::wait::signal::Signal;
use crate::engine::tick::Tick;

/// What wakes the scheduler.
///
/// No wake-up is lost: before it looks at the partitions the scheduler sets `planned` to
/// [`Doorbell::ALWAYS`]. Whoever arms something does so under a partition's lock and reads `planned`
/// afterwards. Either the scheduler looks at that partition later and sees it, or the partition's
/// lock orders the scheduler's store before the read and the bell is rung, or the read sees the new
/// plan and compares with that.
#[derive(Debug)]
pub(crate) struct Doorbell {
    sleeper: Sleeper,
    /// When the scheduler will wake up by itself. Relaxed: ordered by the partitions' locks.
    planned: AtomicU64,
}

/// Who takes the next step.
#[derive(Debug)]
enum Sleeper {
    /// A thread of the pool that the buffer has joined. Nobody until it has.
    Threads(OnceLock<Membership>),
    /// Whoever moves the clock.
    #[cfg(feature = "test-util")]
    Nobody,
    /// A task, by whether the bell has been rung since it last woke up.
    #[cfg(feature = "tokio")]
    Task(Signal<bool>),
}

impl Doorbell {
    /// The scheduler is awake, or asleep without an end: ring for everything.
    pub(crate) const ALWAYS: Tick = Tick::MAX;

    pub(crate) fn for_threads() -> Self {
        Doorbell::of(Sleeper::Threads(OnceLock::new()))
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn for_nobody() -> Self {
        Doorbell::of(Sleeper::Nobody)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn for_a_task() -> Self {
        Doorbell::of(Sleeper::Task(Signal::new(false)))
    }

    fn of(sleeper: Sleeper) -> Self {
        Doorbell { sleeper, planned: AtomicU64::new(Self::ALWAYS) }
    }

    pub(crate) fn ring(&self) {
        match &self.sleeper {
            Sleeper::Threads(membership) => membership.get().into_iter().for_each(Membership::ring),
            #[cfg(feature = "test-util")]
            Sleeper::Nobody => {}
            #[cfg(feature = "tokio")]
            Sleeper::Task(rung) => rung.change(|rung| !std::mem::replace(rung, true)),
        }
    }

    /// Sees to it that the scheduler looks at the partitions at `tick` or before.
    pub(crate) fn wake_by(&self, tick: Tick) {
        if tick < self.planned.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    pub(crate) fn plan(&self, tick: Tick) {
        self.planned.store(tick, Ordering::Relaxed);
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn planned(&self) -> Option<Tick> {
        Some(self.planned.load(Ordering::Relaxed)).filter(|&tick| tick != Self::ALWAYS)
    }

    /// A manual clock shows `now`: wakes the scheduler for no other reasons than a real one would.
    #[cfg(feature = "test-util")]
    pub(crate) fn time_moved(&self, now: Tick) {
        match &self.sleeper {
            Sleeper::Threads(_) if self.planned().is_some_and(|planned| planned <= now) => self.ring(),
            Sleeper::Threads(_) | Sleeper::Nobody => {}
            #[cfg(feature = "tokio")]
            Sleeper::Task(rung) => rung.nudge(),
        }
    }

    /// The buffer has joined a pool of threads.
    pub(crate) fn belong(&self, membership: Membership) {
        match &self.sleeper {
            // Nobody has heard what rang before.
            Sleeper::Threads(place) => place.get_or_init(|| membership).ring(),
            #[cfg(any(feature = "test-util", feature = "tokio"))]
            _ => unreachable!("it is not for threads"),
        }
    }

    /// Sleeps until the bell rings or `until` comes.
    #[cfg(feature = "tokio")]
    pub(crate) async fn sleep_async(&self, clock: &Clock, until: Option<Duration>) {
        if let Sleeper::Task(rung) = &self.sleeper {
            rung.wait_async(clock, until, |rung| std::mem::take(rung).then_some(())).await;
        }
    }
}
