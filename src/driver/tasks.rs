//! The tokio driver: one scheduler task, and a task for each batch that is being flushed. All it
//! does is wait and call.

use std::hash::BuildHasher;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::complete::OnDrop;
use super::core::{Core, Key};
use super::doorbell::Doorbell;
use super::life::Phase;
use super::schedule::Step;
use super::sync::Ordering;
use crate::aggregate::Aggregate;
use crate::engine::tick;
use crate::error::BuildError;
use crate::failure::{FlushFailure, contained};

struct Scheduler<K: Key, V: Aggregate, S: BuildHasher> {
    core: Arc<Core<K, V, S>>,
    runtime: Handle,
    /// One for each callback that may run.
    permits: Arc<Semaphore>,
    /// What cancels the callbacks that have been handed out: a message, or the end of this.
    running: Vec<(u64, oneshot::Sender<FlushFailure>)>,
}

/// Whether `runtime` can run a buffer.
pub(crate) fn check(runtime: &Handle) -> Result<(), BuildError> {
    let _inside = runtime.enter();
    contained(|| drop(tokio::time::sleep(std::time::Duration::ZERO)))
        .map_err(|_| BuildError::Runtime("it has no timer; build it with enable_time"))
}

/// Starts the scheduler's task. It ends when the buffer is closed, and the other way round.
pub(crate) fn start<K: Key, V: Aggregate, S>(
    core: &Arc<Core<K, V, S>>,
    runtime: &Handle,
) -> Result<(), BuildError>
where
    S: BuildHasher + Send + Sync + 'static,
{
    let scheduler = Scheduler {
        core: Arc::clone(core),
        runtime: runtime.clone(),
        permits: Arc::new(Semaphore::new(core.config.flush_threads)),
        running: Vec::new(),
    };
    drop(runtime.spawn(scheduler.run()));
    if core.life.phase() == Phase::Open { Ok(()) } else { Err(BuildError::Runtime("it has been shut down")) }
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Scheduler<K, V, S> {
    async fn run(mut self) {
        loop {
            self.core.doorbell.plan(Doorbell::ALWAYS);
            // Only a key whose `Clone` panics could make a step panic.
            let step = self.core.callbacks.call(|| self.core.step());
            let step = step.unwrap_or_else(|_| Step { next: Some(self.core.soon()), ..Step::default() });
            if step.closed {
                return;
            }
            self.cancel(&step.overdue);
            step.jobs.iter().for_each(|&sequence| self.hand_out(sequence));
            self.core.doorbell.plan(step.next.unwrap_or(Doorbell::ALWAYS));
            self.core.doorbell.sleep_async(&self.core.clock, step.next.map(tick::to_duration)).await;
        }
    }

    fn cancel(&mut self, overdue: &[u64]) {
        self.running.retain(|(_, cancel)| !cancel.is_closed());
        for sequence in overdue {
            if let Some(place) = self.running.iter().position(|(running, _)| running == sequence) {
                let (_, cancel) = self.running.swap_remove(place);
                let _ = cancel.send(FlushFailure::TimedOut(self.core.config.flush_timeout));
            }
        }
    }

    fn hand_out(&mut self, sequence: u64) {
        let (cancel, cancelled) = oneshot::channel();
        self.running.push((sequence, cancel));
        let (core, permits) = (Arc::clone(&self.core), Arc::clone(&self.permits));
        self.runtime.spawn(async move {
            let _permit = permits.acquire().await;
            core.workers.fetch_add(1, Ordering::Relaxed);
            let _working = OnDrop(|| {
                core.workers.fetch_sub(1, Ordering::Relaxed);
            });
            core.run(sequence, async { cancelled.await.unwrap_or(FlushFailure::Cancelled) }).await;
        });
    }
}

/// However it ends, nobody does the buffer's work any more.
impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Scheduler<K, V, S> {
    fn drop(&mut self) {
        self.core.abandon();
    }
}
