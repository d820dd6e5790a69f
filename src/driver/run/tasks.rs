//! The tokio driver: one scheduler task, and tasks that flush while there is work. All it does is wait
//! and call.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::driver::flush::Plan;
use crate::driver::flush::doorbell::Doorbell;
use crate::driver::sync::Mutex;
use crate::driver::wait::life::Phase;
use crate::engine::sequence::Sequence;
use crate::engine::tick;
use crate::error::BuildError;
use crate::failure::{FailureCause, contained};
use crate::key::Key;

struct Scheduler<K: Key, V: Aggregate, S: BuildHasher> {
    core: Arc<Core<K, V, S>>,
    runtime: Handle,
    cancels: Arc<Cancels>,
}

/// What cancels callbacks that are at work. `None` when all of them are to end. Guards the senders: a
/// message cancels a callback, and so does the sender's end.
struct Cancels(Mutex<Option<HashMap<Sequence, oneshot::Sender<FailureCause>>>>);

impl Cancels {
    /// For the attempt that a batch begins now.
    fn register(&self, sequence: Sequence) -> oneshot::Receiver<FailureCause> {
        let (cancel, cancelled) = oneshot::channel();
        if let Some(running) = &mut *self.0.lock() {
            running.insert(sequence, cancel);
        }
        cancelled
    }

    fn forget(&self, sequence: Sequence) {
        let _cancel = self.0.lock().as_mut().and_then(|running| running.remove(&sequence));
    }

    fn cancel(&self, sequence: Sequence, cause: FailureCause) {
        let cancel = self.0.lock().as_mut().and_then(|running| running.remove(&sequence));
        let _ = cancel.map(|cancel| cancel.send(cause));
    }

    fn cancel_all(&self) {
        // Wakers are called when no lock is held.
        let running = self.0.lock().take();
        drop(running);
    }
}

/// Whether `runtime` can run a buffer.
pub(crate) fn check(runtime: &Handle) -> Result<(), BuildError> {
    let _inside = runtime.enter();
    contained(|| drop(tokio::time::sleep(std::time::Duration::ZERO)))
        .map_err(|_| BuildError::Runtime("it has no timer; build it with enable_time"))
}

/// Starts the scheduler's task. It ends when the buffer is over, and the other way round.
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
        cancels: Arc::new(Cancels(Mutex::new(Some(HashMap::new())))),
    };
    drop(runtime.spawn(scheduler.run()));
    if core.life.phase() == Phase::Open { Ok(()) } else { Err(BuildError::Runtime("it has been shut down")) }
}

impl<K: Key, V: Aggregate, S: BuildHasher + Send + Sync + 'static> Scheduler<K, V, S> {
    async fn run(self) {
        loop {
            self.core.dispatch.doorbell().plan(Doorbell::ALWAYS);
            // Only a key whose `Clone` panics could make a step panic.
            let step = self.core.callbacks.call(|| self.core.step());
            let step = step.unwrap_or_else(|_| Plan { next: Some(self.core.soon()), ..Plan::default() });
            if step.closed {
                break;
            }
            let timed_out = || FailureCause::TimedOut(self.core.settings.flushing.timeout);
            step.overdue.iter().for_each(|&sequence| self.cancels.cancel(sequence, timed_out()));
            (0..step.workers).for_each(|_| self.start_worker());
            self.core.dispatch.doorbell().plan(step.next.unwrap_or(Doorbell::ALWAYS));
            self.core
                .dispatch
                .doorbell()
                .sleep_async(&self.core.clock, step.next.map(tick::to_duration))
                .await;
            // There may be more to do at once; others have waited for the thread meanwhile.
            tokio::task::yield_now().await;
        }
        self.cancels.cancel_all();
        while self.core.dispatch.active() > 0 {
            self.core.dispatch.doorbell().sleep_async(&self.core.clock, None).await;
        }
        self.core.retire().await;
    }

    /// Starts a task that makes attempts as long as there are any.
    fn start_worker(&self) {
        let (core, cancels) = (Arc::clone(&self.core), Arc::clone(&self.cancels));
        self.runtime.spawn(async move {
            let _working = core.dispatch.begin_work();
            while let Some(job) = core.next_job() {
                let sequence = Sequence::of(job.batch.id);
                let cancelled = cancels.register(sequence);
                core.run(job, async { cancelled.await.unwrap_or(FailureCause::Cancelled) }).await;
                cancels.forget(sequence);
                // A callback that never waits would keep the thread to itself.
                tokio::task::yield_now().await;
            }
        });
    }
}

/// However it ends, nobody does the buffer's work any more.
impl<K: Key, V: Aggregate, S: BuildHasher> Drop for Scheduler<K, V, S> {
    fn drop(&mut self) {
        self.cancels.cancel_all();
        self.core.abandon();
    }
}
