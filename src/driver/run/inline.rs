//! The inline driver: no threads. Work is done inside [`ManualClock::advance`] and inside calls that
//! wait, on the caller's thread.
//!
//! [`ManualClock::advance`]: crate::ManualClock::advance

use std::hash::BuildHasher;
use std::time::Duration;

use crate::aggregate::Aggregate;
use crate::driver::clock::{Clock, Listener};
use crate::driver::core::{Core, Driver};
use crate::driver::flush::doorbell::Doorbell;
use crate::driver::user::context;
use crate::driver::user::future::complete;
use crate::driver::wait::life::Phase;
use crate::engine::tick;
use crate::key::Key;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Does all that is due. Says whether there was anything that somebody may wait for.
    pub(crate) fn pump(&self) -> bool {
        let mut worked = false;
        if context::in_any_callback() || self.life.phase() == Phase::Retired {
            return worked;
        }
        loop {
            let step = self.step();
            self.dispatch.doorbell().plan(step.next.unwrap_or(Doorbell::ALWAYS));
            if step.closed {
                complete(self.retire());
                return true;
            }
            let journaled = self.keep_journal_inline();
            if step.workers == 0 && !journaled {
                return worked;
            }
            worked = true;
            (0..step.workers).for_each(|_| self.work());
        }
    }

    /// Stands in for waiting: does what is due, or else lets time pass until something is.
    pub(crate) fn pass_time(&self, deadline: Duration) {
        if self.pump() {
            return;
        }
        let Clock::Manual(clock) = &self.clock else { return };
        let now = clock.now();
        let next = self.planned().map_or(deadline, |next| next.min(deadline));
        clock.advance(next.saturating_sub(now));
    }

    fn planned(&self) -> Option<Duration> {
        let journal = self.journal.as_ref().and_then(|journal| journal.progress.next());
        let planned = self.dispatch.doorbell().planned().map(tick::to_duration);
        [planned, journal].into_iter().flatten().min()
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync> Listener for Core<K, V, S> {
    fn next_event(&self) -> Option<Duration> {
        if self.driver == Driver::Inline { self.planned() } else { None }
    }

    fn time_moved(&self) {
        if self.driver == Driver::Inline {
            self.pump();
        }
        self.dispatch.doorbell().time_moved(self.now_tick());
        self.intake.wake_all();
        self.life.nudge();
        self.journal.iter().for_each(|journal| journal.progress.nudge());
        let waiters = self.waiters.lock().clone();
        waiters.iter().for_each(|waiter| waiter.nudge());
    }
}
