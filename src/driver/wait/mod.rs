//! Calls that wait, each for threads and for tasks. They differ only in how they wait.

#[cfg(feature = "journal")]
mod durable;
pub(crate) mod life;
pub(crate) mod signal;
#[cfg(all(test, feature = "tokio", not(shuttle)))]
mod tests;
pub(crate) mod waiter;

#[cfg(feature = "tokio")]
use std::future::Future;
use std::hash::BuildHasher;
use std::ops::Range;
use std::time::Duration;

use super::core::Core;
#[cfg(any(feature = "test-util", feature = "tokio"))]
use super::core::Driver;
use super::intake::{Insertion, Place, Spot};
use super::user::context::{self, NoWait};
use crate::aggregate::Aggregate;
use crate::engine::shard::Probe;
use crate::error::{FlushWaitError, InsertError, InsertErrorKind};
use crate::key::Key;
use crate::settings::Overflow;
use life::Phase;
use waiter::WaiterRef;

/// An insert that has to wait before it tries again.
type Waits<'a, P, I> = (Place<'a>, P, I);

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Whether a blocking call may wait where it was made.
    pub(crate) fn may_wait(&self) -> Result<(), NoWait> {
        if context::in_callback_of(self.instance) {
            return Err(NoWait::InCallback);
        }
        #[cfg(feature = "tokio")]
        if self.driver == Driver::Runtime && context::in_async_code() {
            return Err(NoWait::InAsyncCode);
        }
        Ok(())
    }

    /// Whether the drop of the last handle may wait. Not for a sink on a runtime, which may be the one
    /// that is just being shut down on this thread, and on no thread of any runtime.
    pub(crate) fn may_wait_in_drop(&self) -> bool {
        #[cfg(feature = "tokio")]
        match self.driver {
            Driver::Runtime => return false,
            Driver::Threads if tokio::runtime::Handle::try_current().is_ok() => return false,
            _ => {}
        }
        !context::in_callback_of(self.instance)
    }

    /// When a call has to be over that begins now.
    pub(crate) fn deadline(&self, timeout: Duration) -> Duration {
        self.clock.now().saturating_add(timeout)
    }

    /// Waits by `block`; without threads, does what is due or lets time pass instead.
    fn wait_or_pass_time(&self, deadline: Duration, block: impl FnOnce()) {
        #[cfg(feature = "test-util")]
        if self.driver == Driver::Inline {
            return self.pass_time(deadline);
        }
        let _ = deadline;
        block();
    }

    #[cfg(feature = "tokio")]
    async fn wait_or_pass_time_async(&self, deadline: Duration, wait: impl Future<Output = ()>) {
        #[cfg(feature = "test-util")]
        if self.driver == Driver::Inline {
            return self.pass_time(deadline);
        }
        let _ = deadline;
        wait.await;
    }

    /// Waits for room, and makes some if the overflow policy says so.
    pub(crate) fn insert_when_roomy<P: Probe<K>>(
        &self,
        spot: Spot,
        mut probe: P,
        mut item: V::Item,
        timeout: Duration,
    ) -> Insertion<P, V::Item> {
        let deadline = self.deadline(timeout);
        loop {
            let place;
            match self.try_insert(spot, probe, item, deadline) {
                Ok(insertion) => return insertion,
                Err(waits) => (place, probe, item) = waits,
            }
            self.wait_or_pass_time(deadline, || place.wait(&self.clock, deadline));
        }
    }

    /// As [`insert_when_roomy`](Self::insert_when_roomy), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn insert_when_roomy_async<P: Probe<K>>(
        &self,
        spot: Spot,
        mut probe: P,
        mut item: V::Item,
        timeout: Duration,
    ) -> Insertion<P, V::Item> {
        let deadline = self.deadline(timeout);
        loop {
            let place;
            match self.try_insert(spot, probe, item, deadline) {
                Ok(insertion) => return insertion,
                Err(waits) => (place, probe, item) = waits,
            }
            self.wait_or_pass_time_async(deadline, place.wait_async(&self.clock, deadline)).await;
        }
    }

    /// Waits until one more key might find room.
    #[cfg(feature = "tokio")]
    pub(crate) async fn await_room(&self, timeout: Duration) -> Result<(), InsertErrorKind> {
        let deadline = self.deadline(timeout);
        loop {
            let place = self.intake.enter();
            if self.life.phase() > Phase::Open {
                return Err(InsertErrorKind::Closed);
            }
            if self.intake.may_hold_one() {
                return Ok(());
            }
            if context::in_callback_of(self.instance) {
                return Err(NoWait::InCallback.into());
            }
            if self.clock.now() >= deadline {
                return Err(InsertErrorKind::TimedOut);
            }
            self.wait_or_pass_time_async(deadline, place.wait_async(&self.clock, deadline)).await;
        }
    }

    /// Tries to insert; `Err` with a place among those who wait if there is no room.
    fn try_insert<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
        deadline: Duration,
    ) -> Result<Insertion<P, V::Item>, Waits<'_, P, V::Item>> {
        let place = self.intake.enter();
        let (probe, item) = match self.insert_if_roomy(spot, probe, item) {
            Err(InsertError { kind: InsertErrorKind::Full, rejected }) => rejected,
            settled => return Ok(settled),
        };
        if self.clock.now() >= deadline {
            return Ok(Err(InsertError::new(InsertErrorKind::TimedOut, (probe, item))));
        }
        match self.settings.bounds.overflow {
            Overflow::FlushOldest { .. } => self.hasten(),
            overflow if overflow.max_spilled().is_some() => self.dispatch.doorbell().ring(),
            _ => {}
        }
        Err((place, probe, item))
    }

    /// Registers one who waits for what `request` asks to be flushed in these partitions.
    pub(crate) fn begin_waiting(
        &self,
        partitions: Range<usize>,
        request: impl FnOnce(&WaiterRef),
    ) -> Waiting<'_, K, V, S> {
        let waiter = WaiterRef::new();
        let waiting = Waiting { core: self, waiter, partitions };
        self.waiters.lock().push(waiting.waiter.clone());
        // One more than there is, so that it cannot be over before all of it is asked for.
        waiting.waiter.expect(1);
        request(&waiting.waiter);
        self.watch_spilled(&waiting.waiter);
        waiting.waiter.reach(1, None);
        waiting
    }

    /// Waits for the end, and ends draining at `deadline`.
    pub(crate) fn await_closed(&self, deadline: Duration) {
        while self.life.phase() < Phase::Retired && self.clock.now() < deadline {
            self.wait_or_pass_time(deadline, || self.life.wait_retired(&self.clock, deadline));
        }
        self.end_draining();
    }

    /// As [`await_closed`](Self::await_closed), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn await_closed_async(&self, deadline: Duration) {
        while self.life.phase() < Phase::Retired && self.clock.now() < deadline {
            self.wait_or_pass_time_async(deadline, self.life.wait_retired_async(&self.clock, deadline)).await;
        }
        self.end_draining();
    }

    fn end_draining(&self) {
        self.finish_draining();
        #[cfg(feature = "test-util")]
        if self.driver == Driver::Inline {
            self.pump();
        }
    }
}

/// One who waits for flushes; leaves no trace when dropped.
pub(crate) struct Waiting<'a, K: Key, V: Aggregate, S: BuildHasher> {
    core: &'a Core<K, V, S>,
    waiter: WaiterRef,
    partitions: Range<usize>,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Waiting<'_, K, V, S> {
    /// The result, or `None` at `deadline`.
    pub(crate) fn wait(self, deadline: Duration) -> Option<Result<(), FlushWaitError>> {
        let (core, waiter) = (self.core, &self.waiter);
        let mut result = waiter.result();
        while result.is_none() && core.clock.now() < deadline {
            core.wait_or_pass_time(deadline, || waiter.wait(&core.clock, deadline));
            result = waiter.result();
        }
        result
    }

    /// As [`wait`](Self::wait), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(self, deadline: Duration) -> Option<Result<(), FlushWaitError>> {
        let (core, waiter) = (self.core, &self.waiter);
        let mut result = waiter.result();
        while result.is_none() && core.clock.now() < deadline {
            core.wait_or_pass_time_async(deadline, waiter.wait_async(&core.clock, deadline)).await;
            result = waiter.result();
        }
        result
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Waiting<'_, K, V, S> {
    fn drop(&mut self) {
        self.core.forget_waiter(&self.waiter, self.partitions.clone());
    }
}
