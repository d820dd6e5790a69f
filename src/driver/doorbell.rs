use std::time::Duration;

use super::clock::Clock;
use super::signal::Signal;
use super::sync::{AtomicU64, Ordering};
use crate::engine::tick::Tick;

/// What the scheduler sleeps on, and what wakes it.
///
/// No wake-up is lost: before it looks at the partitions the scheduler sets `planned` to
/// [`Doorbell::ALWAYS`]. Whoever arms something does so under a partition's lock and reads `planned`
/// afterwards. Either the scheduler looks at that partition later and sees it, or the partition's
/// lock orders the scheduler's store before the read and the bell is rung, or the read sees the new
/// plan and compares with that.
#[derive(Debug)]
pub(crate) struct Doorbell {
    /// Whether the bell has been rung since the scheduler last woke up.
    rung: Signal<bool>,
    /// When the scheduler will wake up by itself. Relaxed: ordered by the partitions' locks.
    planned: AtomicU64,
}

impl Doorbell {
    /// The scheduler is awake, or asleep without an end: ring for everything.
    pub(crate) const ALWAYS: Tick = Tick::MAX;

    pub(crate) fn new() -> Self {
        Doorbell { rung: Signal::new(false), planned: AtomicU64::new(Self::ALWAYS) }
    }

    pub(crate) fn ring(&self) {
        self.rung.change(|rung| !std::mem::replace(rung, true));
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

    /// Has the sleeper look at the clock again, without a ring: a manual clock wakes it for no other
    /// reasons than a real one would.
    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        self.rung.nudge();
    }

    /// Sleeps until the bell rings or `until` comes.
    pub(crate) fn sleep(&self, clock: &Clock, until: Option<Duration>) {
        self.rung.wait(clock, until, answer);
    }

    /// As [`sleep`](Self::sleep), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn sleep_async(&self, clock: &Clock, until: Option<Duration>) {
        self.rung.wait_async(clock, until, answer).await;
    }
}

fn answer(rung: &mut bool) -> Option<()> {
    std::mem::take(rung).then_some(())
}
