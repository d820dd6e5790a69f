//! The threads that all buffers of a process share.
//!
//! A buffer that has something to do is here with a step to take, with work for some threads, or with a time
//! at which to be woken. At rest it is here by name only, and when all are at rest there is no thread.
//!
//! Threads are started one at a time: one that begins looks whether there is more to do than others are there
//! for, and starts the next. So many short steps are taken by few threads, and attempts that take
//! long get a thread each. As long as somebody is to be woken one thread is to spare, which waits for the
//! first who is.

mod state;

use std::sync::Arc;
#[cfg(not(shuttle))]
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[cfg(not(shuttle))]
use crate::driver::fork::ForkGuard;
use crate::driver::sync::{Condvar, Mutex, MutexGuard, Receiver, Sender, bounded, spawn};
use state::{Job, Keeper, State};

/// How long a thread waits for something to do while there is something to wait for.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How many threads wait for something to do, at most. Whoever rings sends an order without asking the
/// allocator for memory: a small block that is taken at the peak keeps all below it from going back to the
/// system when the buffer rests.
const MOST_IDLE: usize = 64;

/// One whose work is done here.
pub(crate) trait Member: Send + Sync {
    /// Takes a step. Never called by two threads at once.
    fn step(&self, membership: &Membership) -> Next;
    /// Makes attempts as long as there are any.
    fn work(&self);
}

/// When a member takes its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At this time, or when it is rung for.
    At(Instant),
    /// When it is rung for.
    Rung,
    /// Never: it leaves.
    Over,
}

/// A member's place in a pool.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pool: Arc<ThreadPool>,
    id: u64,
}

pub(crate) struct ThreadPool {
    state: Mutex<State<Arc<dyn Member>>>,
    /// To those who are idle. Sent under the lock and to no more than there are, who are idle no more then.
    orders: Sender<Order>,
    for_idle: Receiver<Order>,
    /// For the one that keeps time: there is something to do, or the first time is another.
    keeper: Condvar,
}

type Guard<'a> = MutexGuard<'a, State<Arc<dyn Member>>>;

/// What an idle thread is told.
enum Order {
    Do(Job<Arc<dyn Member>>),
    /// Look whether time is to be kept, or nothing is left to wait for.
    Look,
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThreadPool")
    }
}

impl Membership {
    /// Has the member take a step soon.
    pub(crate) fn ring(&self) {
        let mut state = self.pool.state.lock();
        state.ring(self.id);
        // Whatever was in the way of starting a thread before may be gone.
        self.pool.look_after(state, 0);
    }

    /// Has so many threads work for the member. Called in its step, by a thread that will be one of them.
    pub(crate) fn engage(&self, threads: usize) {
        if threads > 0 {
            let mut state = self.pool.state.lock();
            state.engage(self.id, threads);
            self.pool.look_after(state, 1);
        }
    }
}

impl ThreadPool {
    fn new() -> Self {
        let (orders, for_idle) = bounded(MOST_IDLE);
        ThreadPool { state: Mutex::new(State::default()), orders, for_idle, keeper: Condvar::new() }
    }

    /// The pool of this process.
    #[cfg(not(shuttle))]
    pub(crate) fn current() -> Arc<Self> {
        static CURRENT: OnceLock<(ForkGuard, Arc<ThreadPool>)> = OnceLock::new();
        let (guard, pool) = CURRENT.get_or_init(|| (ForkGuard::default(), Arc::new(ThreadPool::new())));
        // The threads of the process that this one was forked from are not here, whatever the pool says.
        if guard.clone().detected_fork() { Arc::new(ThreadPool::new()) } else { Arc::clone(pool) }
    }

    /// The pool of this execution of a model checker.
    #[cfg(shuttle)]
    pub(crate) fn current() -> Arc<Self> {
        shuttle::lazy_static! { static ref CURRENT: Arc<ThreadPool> = Arc::new(ThreadPool::new()); }
        Arc::clone(&CURRENT)
    }

    /// Takes a member in and has it take its first step. An error if there is no thread and none can be had.
    pub(crate) fn join(self: &Arc<Self>, member: Arc<dyn Member>) -> std::io::Result<Membership> {
        let mut state = self.state.lock();
        let id = state.join(member);
        if !state.has_threads() {
            state.starting = true;
            drop(state);
            if let Err(error) = self.start_thread() {
                let gone = self.state.lock().leave(id);
                drop(gone);
                return Err(error);
            }
        }
        Ok(Membership { pool: Arc::clone(self), id })
    }

    /// Sees to it that somebody does what there is to do. `served`: so much of it the caller does itself.
    fn look_after(self: &Arc<Self>, mut state: Guard<'_>, served: usize) {
        while state.idle > 0 && state.jobs() > served {
            let Some(job) = state.take_job() else { break };
            self.order(&mut state, Order::Do(job));
        }
        if state.idle > 0 && state.needs_keeper() {
            state.keeper = Keeper::Called;
            self.order(&mut state, Order::Look);
        }
        match state.keeper {
            Keeper::There if state.jobs() > served => {
                self.keeper.notify_one();
            }
            // Those who come will see.
            _ if state.starting => {}
            Keeper::Nobody if state.jobs() > served || state.needs_keeper() => {
                state.starting = true;
                drop(state);
                // If it cannot be had, whoever comes back or rings next tries again.
                let _ = self.start_thread();
            }
            Keeper::Nobody | Keeper::Called | Keeper::There => {}
        }
    }

    fn order(&self, state: &mut Guard<'_>, order: Order) {
        state.idle -= 1;
        // There is a receiver: this pool holds one.
        let _ = self.orders.send(order);
    }

    /// Starts the thread that is marked as starting.
    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let pool = Arc::clone(self);
        let started = spawn("write-behind".into(), move || pool.serve());
        if started.is_err() {
            self.state.lock().starting = false;
        }
        started
    }

    /// A thread's life.
    fn serve(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.starting = false;
        loop {
            if let Some(job) = state.take_job() {
                self.look_after(state, 0);
                state = self.run(job);
            } else if state.is_quiet() {
                while state.idle > 0 {
                    self.order(&mut state, Order::Look);
                }
                break;
            } else if state.needs_keeper() {
                state.keeper = Keeper::There;
                if let Some(first) = state.first_time() {
                    self.keeper.wait_until(&mut state, first);
                }
                state.keeper = Keeper::Nobody;
                state.ring_due(Instant::now());
            } else if state.idle == MOST_IDLE {
                break;
            } else {
                state.idle += 1;
                drop(state);
                let order = self.for_idle.recv_timeout(KEEP_ALIVE).ok();
                let Some(order) = order.or_else(|| self.last_order()) else { break };
                state = match order {
                    Order::Do(job) => self.run(job),
                    Order::Look => {
                        let mut state = self.state.lock();
                        if state.keeper == Keeper::Called {
                            state.keeper = Keeper::Nobody;
                        }
                        state
                    }
                };
            }
        }
    }

    /// What an idle thread is told that has waited for too long: nothing, and then it is one no more.
    fn last_order(&self) -> Option<Order> {
        let mut state = self.state.lock();
        let order = self.for_idle.try_recv().ok();
        if order.is_none() {
            state.idle -= 1;
        }
        order
    }

    /// Does one job. What is the member's is dropped under no lock.
    fn run(self: &Arc<Self>, job: Job<Arc<dyn Member>>) -> Guard<'_> {
        match job {
            Job::Step(id, member) => {
                let next = member.step(&Membership { pool: Arc::clone(self), id });
                drop(member);
                let mut state = self.state.lock();
                let first = state.first_time();
                let gone = state.end_step(id, next);
                if state.keeper == Keeper::There && state.first_time() != first {
                    self.keeper.notify_one();
                }
                if gone.is_none() {
                    return state;
                }
                drop(state);
                drop(gone);
            }
            Job::Work(member) => {
                member.work();
                drop(member);
                let mut state = self.state.lock();
                state.end_work();
                return state;
            }
        }
        self.state.lock()
    }
}
