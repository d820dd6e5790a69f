//! The threaded driver: one scheduler thread, and workers that come when there is work and go when
//! the buffer rests. All it does is wait and call.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::core::Core;
use super::doorbell::Doorbell;
use super::future::complete;
use super::schedule::Plan;
use super::sync::{Ordering, Receiver, Sender, bounded, spawn};
use crate::aggregate::Aggregate;
use crate::engine::tick;
use crate::key::Key;

/// What a worker is told.
enum Order {
    /// Make attempts as long as there are any.
    Work,
    /// Whoever gets this leaves.
    Rest,
}

struct Scheduler<K, V, S> {
    core: Arc<Core<K, V, S>>,
    orders: Sender<Order>,
    /// For new workers.
    receiver: Receiver<Order>,
    /// Workers that have been started and not been told to leave.
    workers: usize,
}

/// Starts the scheduler's thread. It ends when the buffer is over.
pub(crate) fn start<K: Key, V: Aggregate, S>(core: &Arc<Core<K, V, S>>) -> std::io::Result<()>
where
    S: BuildHasher + Send + Sync + 'static,
{
    // As many as can be told to work and not have begun, and as many that are sent to rest.
    let (orders, receiver) = bounded(2 * core.settings.flushing.concurrency);
    let scheduler = Scheduler { core: Arc::clone(core), orders, receiver, workers: 0 };
    spawn(format!("{}-scheduler", core.settings.name), move || scheduler.run())
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Scheduler<K, V, S> {
    fn run(mut self) {
        loop {
            self.core.doorbell.plan(Doorbell::ALWAYS);
            // Only a key whose `Clone` panics could make a step panic.
            let step = self.core.callbacks.call(|| self.core.step());
            let mut step = step.unwrap_or_else(|_| Plan { next: Some(self.core.soon()), ..Plan::default() });
            if step.closed {
                break;
            }
            if let Err(soon) = self.hand_out(&step) {
                step.next = Some(step.next.map_or(soon, |next| next.min(soon)));
            }
            self.core.doorbell.plan(step.next.unwrap_or(Doorbell::ALWAYS));
            self.core.doorbell.sleep(&self.core.clock, step.next.map(tick::to_duration));
        }
        // Those who were told to work and could not be started find nothing to do.
        while let Ok(Order::Work) = self.receiver.try_recv() {
            self.core.work();
        }
        while !self.core.is_out_of_work() {
            self.core.doorbell.sleep(&self.core.clock, None);
        }
        complete(self.core.retire());
    }

    /// Has as many workers begin as the step has found work for. `Err` says when to see again whether a
    /// worker can be started.
    fn hand_out(&mut self, step: &Plan) -> Result<(), tick::Tick> {
        (0..step.workers).for_each(|_| self.send(Order::Work));
        if step.rest {
            (0..self.workers).for_each(|_| self.send(Order::Rest));
            self.workers = 0;
        }
        let wanted = self.core.flights.lock().active();
        while self.workers < wanted {
            if self.start_worker().is_err() {
                return Err(self.core.soon());
            }
            self.workers += 1;
        }
        Ok(())
    }

    fn send(&self, order: Order) {
        // There is room, and a receiver: this scheduler holds one.
        let _ = self.orders.send(order);
    }

    fn start_worker(&self) -> std::io::Result<()> {
        let core = Arc::clone(&self.core);
        let orders = self.receiver.clone();
        spawn(format!("{}-worker", self.core.settings.name), move || {
            core.workers.fetch_add(1, Ordering::Relaxed);
            while let Ok(Order::Work) = orders.recv() {
                core.work();
            }
            core.workers.fetch_sub(1, Ordering::Relaxed);
        })
    }
}
