use std::time::Duration;

use super::clock::Clock;
use super::sync::{AtomicUsize, Condvar, Mutex, Ordering};

/// Where blocked inserters wait for room.
///
/// An inserter [`enter`](Self::enter)s *before* it tries for the last time, and whoever gives room
/// back does so before it looks whether somebody is waiting; both in SeqCst order, so one sees the
/// other and no wake-up is lost.
#[derive(Debug)]
pub(crate) struct Room {
    /// Guards the number of times that room has appeared, or everybody had to look up.
    turns: Mutex<u64>,
    changed: Condvar,
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
        Room { turns: Mutex::new(0), changed: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn enter(&self) -> Place<'_> {
        let turns = self.turns.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Place { room: self, turn: *turns }
    }

    /// Room has appeared, or the buffer has closed, or the time has moved.
    pub(crate) fn wake_all(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            *self.turns.lock() += 1;
            self.changed.notify_all();
        }
    }
}

impl Place<'_> {
    /// Waits for [`Room::wake_all`] since this place was taken, or until `deadline`.
    pub(crate) fn wait(&self, clock: &Clock, deadline: Duration) {
        let mut turns = self.room.turns.lock();
        while *turns == self.turn && clock.now() < deadline {
            clock.wait(&self.room.changed, &mut turns, Some(deadline));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
