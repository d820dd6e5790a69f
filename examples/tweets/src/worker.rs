//! A worker: takes jobs from its queue, one after the other, and dies of what it cannot read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::generator::Random;
use crate::message::Job;
use crate::pool::Pool;

/// How many jobs wait for a worker at most.
pub(crate) const QUEUE: usize = 16;

/// Where a worker's jobs are put. When there is none any more the worker goes.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) queue: mpsc::Sender<Arc<Job>>,
    /// What waits, and what is being worked on. Relaxed: a hint for the balancer.
    pub(crate) load: Arc<AtomicUsize>,
}

/// Where a worker sits. Outlives the worker.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Held by the worker as long as it lives.
    queue: tokio::sync::Mutex<mpsc::Receiver<Arc<Job>>>,
    /// Guards what the worker has in its hands.
    hands: Mutex<Option<Arc<Job>>>,
    load: Arc<AtomicUsize>,
}

/// A new place for a worker: both sides of its queue.
pub(crate) fn place() -> (Desk, Arc<Seat>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let load = Arc::new(AtomicUsize::new(0));
    let seat =
        Seat { queue: tokio::sync::Mutex::new(receiver), hands: Mutex::default(), load: Arc::clone(&load) };
    (Desk { queue: sender, load }, Arc::new(seat))
}

impl Seat {
    fn take_up(&self, job: &Arc<Job>) {
        *self.hands.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(job));
    }

    /// Different for each worker and job.
    fn dice(self: &Arc<Self>, job: &Job) -> u64 {
        Random(Arc::as_ptr(self) as u64 ^ (job.message.id() as u64) << 32).below(1_000)
    }

    /// The job that is, or was, being worked on; it is no longer.
    pub(crate) fn clear_away(&self) -> Option<Arc<Job>> {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Works until there is no desk any more, or until a job kills it.
pub(crate) async fn work(pool: Arc<Pool>, seat: Arc<Seat>) {
    let mut queue = seat.queue.lock().await;
    while let Some(job) = queue.recv().await {
        seat.take_up(&job);
        if !do_job(&pool, &job, seat.dice(&job)).await {
            pool.in_vain.add(1);
        }
        seat.clear_away();
    }
}

/// Whether the result was needed.
async fn do_job(pool: &Pool, job: &Job, dice: u64) -> bool {
    if job.is_over() {
        return false;
    }
    if !pool.limits.work.is_zero() {
        let time = pool.stage.pretended(pool.limits.work, dice);
        tokio::select! {
            () = job.over() => return false,
            () = tokio::time::sleep(time) => {}
        }
    }
    let part = pool.stage.examine(job.message.tweet());
    // Nothing in here panics after this line: what has been settled is delivered.
    if !job.settle() {
        return false;
    }
    pool.outbox.deliver(&job.message, part).await;
    true
}
