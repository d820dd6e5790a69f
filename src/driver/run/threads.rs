//! The threaded driver: steps and attempts are made by the threads that all buffers share.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::thread_pool::{Member, Membership, Next, ThreadPool};
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::flush::Plan;
use crate::driver::flush::doorbell::Doorbell;
use crate::driver::user::future::complete;
use crate::engine::tick;
use crate::key::Key;

/// Has threads do the buffer's work until it is over.
pub(crate) fn start<K: Key, V: Aggregate, S>(core: &Arc<Core<K, V, S>>) -> std::io::Result<()>
where
    S: BuildHasher + Send + Sync + 'static,
{
    let membership = ThreadPool::current().join(Arc::clone(core) as Arc<dyn Member>)?;
    core.dispatch.doorbell().belong(membership);
    Ok(())
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync> Member for Core<K, V, S> {
    fn step(&self, membership: &Membership) -> Next {
        let doorbell = self.dispatch.doorbell();
        doorbell.plan(Doorbell::ALWAYS);
        // Only a key whose `Clone` panics could make a step panic.
        let plan = self.callbacks.call(|| Core::step(self));
        let plan = plan.unwrap_or_else(|_| Plan { next: Some(self.soon()), ..Plan::default() });
        if plan.closed {
            if self.dispatch.active() > 0 {
                // The last worker rings.
                return Next::Rung;
            }
            complete(self.retire());
            return Next::Over;
        }
        membership.engage(plan.workers);
        doorbell.plan(plan.next.unwrap_or(Doorbell::ALWAYS));
        let Some(tick) = plan.next else { return Next::Rung };
        if let Some(instant) = self.clock.instant(tick::to_duration(tick)) {
            return Next::At(instant);
        }
        // A manual clock that has moved since rings for what was planned then.
        if tick <= self.now_tick() {
            membership.ring();
        }
        Next::Rung
    }

    fn work(&self) {
        Core::work(self);
    }
}
