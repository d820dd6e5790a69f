use std::time::Duration;

use crate::driver::clock::Clock;
use crate::driver::sync::{AtomicUsize, Ordering};
use crate::driver::wait::signal::Signal;

/// Where blocked inserters wait for room.
///
/// An inserter [`enter`](Self::enter)s *before* it tries for the last time, and whoever gives room
/// back does so before it looks whether somebody is waiting; both in SeqCst order, so one sees the
/// other and no wake-up is lost.
#[derive(Debug)]
pub(crate) struct Room {
    /// The number of times that room has appeared, or everybody had to look up.
    turns: Signal<u64>,
    waiting: AtomicUsize,
}

/// A place in the waiting room; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    room: &'a Room,
    turn: u64,
}

impl Room {
    pub(crate) fn new() -> Self {
        Room { turns: Signal::new(0), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn enter(&self) -> Place<'_> {
        let turns = self.turns.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Place { room: self, turn: *turns }
    }

    /// How many wait.
    #[cfg(all(test, feature = "tokio", not(shuttle)))]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Room has appeared, or the buffer has closed, or the time has moved.
    pub(crate) fn wake_all(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.turns.change(|turns| {
                *turns += 1;
                true
            });
        }
    }
}

impl Place<'_> {
    /// Waits for [`Room::wake_all`] since this place was taken, or until `deadline`.
    pub(crate) fn wait(&self, clock: &Clock, deadline: Duration) {
        self.room.turns.wait(clock, Some(deadline), |turns| self.passed(*turns));
    }

    /// As [`wait`](Self::wait), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(&self, clock: &Clock, deadline: Duration) {
        self.room.turns.wait_async(clock, Some(deadline), |turns| self.passed(*turns)).await;
    }

    fn passed(&self, turns: u64) -> Option<()> {
        (turns != self.turn).then_some(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
