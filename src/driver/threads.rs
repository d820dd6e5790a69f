//! The threaded driver: one scheduler thread, and workers that come when there is work and go when
//! the buffer rests. All it does is wait and call.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::core::{Core, Key};
use super::doorbell::Doorbell;
use super::schedule::Step;
use super::sync::{Ordering, Receiver, Sender, bounded, spawn};
use crate::aggregate::Aggregate;
use crate::engine::tick;

enum Job {
    Flush(u64),
    /// Whoever gets this leaves.
    Rest,
}

struct Scheduler<K, V, S> {
    core: Arc<Core<K, V, S>>,
    jobs: Sender<Job>,
    /// For new workers.
    receiver: Receiver<Job>,
    /// Workers that have been started and not been told to leave.
    workers: usize,
}

/// Starts the scheduler's thread. It ends when the buffer is closed.
pub(crate) fn start<K: Key, V: Aggregate, S>(core: &Arc<Core<K, V, S>>) -> std::io::Result<()>
where
    S: BuildHasher + Send + Sync + 'static,
{
    // As many batches as can be dispatched, and more than there can be workers to send to rest.
    let (jobs, receiver) = bounded(2 * core.config.flush_threads);
    let scheduler = Scheduler { core: Arc::clone(core), jobs, receiver, workers: 0 };
    spawn(format!("{}-scheduler", core.config.name), move || scheduler.run())
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Scheduler<K, V, S> {
    fn run(mut self) {
        loop {
            self.core.doorbell.plan(Doorbell::ALWAYS);
            // Only a key whose `Clone` panics could make a step panic.
            let step = self.core.callbacks.call(|| self.core.step());
            let mut step = step.unwrap_or_else(|_| Step { next: Some(self.core.soon()), ..Step::default() });
            if step.closed {
                return;
            }
            if let Err(soon) = self.hand_out(&step) {
                step.next = Some(step.next.map_or(soon, |next| next.min(soon)));
            }
            self.core.doorbell.plan(step.next.unwrap_or(Doorbell::ALWAYS));
            self.core.doorbell.sleep(&self.core.clock, step.next.map(tick::to_duration));
        }
    }

    /// Gives the workers what the step found for them. `Err` says when to see again whether a
    /// worker can be started.
    fn hand_out(&mut self, step: &Step) -> Result<(), tick::Tick> {
        for &sequence in &step.jobs {
            self.send(Job::Flush(sequence));
        }
        if step.rest {
            (0..self.workers).for_each(|_| self.send(Job::Rest));
            self.workers = 0;
        }
        let wanted = self.core.flights.lock().running().min(self.core.config.flush_threads);
        while self.workers < wanted {
            if self.start_worker().is_err() {
                return Err(self.core.soon());
            }
            self.workers += 1;
        }
        Ok(())
    }

    fn send(&self, job: Job) {
        // There is room, and a receiver: this scheduler holds one.
        let _ = self.jobs.send(job);
    }

    fn start_worker(&self) -> std::io::Result<()> {
        let core = Arc::clone(&self.core);
        let jobs = self.receiver.clone();
        spawn(format!("{}-worker", self.core.config.name), move || {
            core.workers.fetch_add(1, Ordering::Relaxed);
            while let Ok(Job::Flush(sequence)) = jobs.recv() {
                core.run_blocking(sequence);
            }
            core.workers.fetch_sub(1, Ordering::Relaxed);
        })
    }
}
