//! A pool of workers: who gets a job, how many workers there are, and what happens when one dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use crate::message::Job;
use crate::outbox::Outbox;
use crate::progress::Counter;
use crate::stage::Stage;
use crate::stop::Stop;
use crate::worker::{self, Desk, QUEUE, Seat};

/// How often a pool looks at its load.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) min_workers: usize,
    pub(crate) max_workers: usize,
    /// How many workers get a copy of each job.
    pub(crate) copies: usize,
    pub(crate) work: Duration,
}

pub(crate) struct Pool {
    pub(crate) stage: Stage,
    pub(crate) limits: Limits,
    pub(crate) outbox: Outbox,
    /// Guards which workers get new jobs.
    desks: Mutex<Vec<Desk>>,
    /// How many workers there were at once. Relaxed: to be shown.
    most: AtomicUsize,
    pub(crate) deaths: Counter,
    /// Copies whose result was not needed any more.
    pub(crate) in_vain: Counter,
}

/// The supervisors of a pool's workers; each returns when its worker has been let go.
type Crew = JoinSet<()>;

impl Pool {
    /// Runs until `closing` and until every job has been done.
    pub(crate) fn start(
        stage: Stage,
        limits: Limits,
        outbox: Outbox,
        closing: Stop,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (most, deaths, in_vain) = (AtomicUsize::new(0), Counter::default(), Counter::default());
        let pool = Arc::new(Pool { stage, limits, outbox, desks: Mutex::default(), most, deaths, in_vain });
        let mut crew = Crew::new();
        pool.hire(limits.min_workers, &mut crew);
        let manager = tokio::spawn(Arc::clone(&pool).manage(crew, closing));
        (pool, manager)
    }

    /// Gives copies of a job to the workers with the least to do; waits while their queues are full.
    pub(crate) async fn submit(&self, job: &Arc<Job>) {
        let desks = self.least_loaded();
        job.set_copies(desks.len());
        for desk in desks {
            desk.load.fetch_add(1, Ordering::Relaxed);
            // Somebody receives for as long as there is a desk.
            let _ = desk.queue.send(Arc::clone(job)).await;
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.desks().len()
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn least_loaded(&self) -> Vec<Desk> {
        let desks = self.desks();
        let mut by_load: Vec<_> =
            desks.iter().map(|desk| (desk.load.load(Ordering::Relaxed), desk)).collect();
        by_load.sort_unstable_by_key(|(load, _)| *load);
        by_load.into_iter().take(self.limits.copies).map(|(_, desk)| desk.clone()).collect()
    }

    async fn manage(self: Arc<Self>, mut crew: Crew, closing: Stop) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = closing.wait() => break,
                _ = looks.tick() => self.resize(&mut crew),
            }
        }
        self.desks().clear();
        while crew.join_next().await.is_some() {}
    }

    /// Grows by a quarter when queues are three quarters full on average, and shrinks by one when they
    /// are less than a quarter full.
    fn resize(self: &Arc<Self>, crew: &mut Crew) {
        while crew.try_join_next().is_some() {}
        let (workers, load) = {
            let desks = self.desks();
            (desks.len(), desks.iter().map(|desk| desk.load.load(Ordering::Relaxed)).sum::<usize>())
        };
        if load * 4 > workers * QUEUE * 3 {
            let room = self.limits.max_workers - workers;
            self.hire(workers.div_ceil(4).min(room), crew);
        } else if load * 4 < workers * QUEUE && workers > self.limits.min_workers {
            // It does what is in its queue, and then finds the desk gone.
            self.desks().pop();
        }
    }

    fn hire(self: &Arc<Self>, workers: usize, crew: &mut Crew) {
        for _ in 0..workers {
            let (desk, seat) = worker::place();
            crew.spawn(supervise(Arc::clone(self), seat));
            self.desks().push(desk);
        }
        self.most.fetch_max(self.size(), Ordering::Relaxed);
    }

    fn desks(&self) -> std::sync::MutexGuard<'_, Vec<Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces a worker whenever it dies. The queue is not the worker's own, so what was waiting in it
/// waits for the successor.
async fn supervise(pool: Arc<Pool>, seat: Arc<Seat>) {
    while let Err(end) = tokio::spawn(worker::work(Arc::clone(&pool), Arc::clone(&seat))).await {
        if !end.is_panic() {
            return; // the runtime ends
        }
        pool.deaths.add(1);
        if let Some(job) = seat.clear_away()
            && job.copy_died()
        {
            pool.outbox.condemn(&job.message);
        }
    }
}
