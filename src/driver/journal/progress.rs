//! How far the journal is, and who waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::driver::clock::Clock;
use crate::driver::sync::{AtomicBool, Ordering};
use crate::driver::wait::signal::Signal;
use crate::journal::JournalError;

/// How long to wait before a file is written anew, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What the journal is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Write what was recorded; if `all`, look for everything that has changed first.
    Commit { all: bool },
    /// Write a fresh file, because the old one has failed.
    Replace,
    /// Load batches that are on disk only.
    Load,
    /// The buffer is over.
    Over,
}

/// What is wrong with the disk.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) error: Arc<JournalError>,
    pub(crate) since: Duration,
    next_try: Duration,
    wait: Duration,
}

#[derive(Debug)]
pub(crate) struct Progress {
    state: Signal<State>,
    /// Something has changed since the last look. Relaxed: set after and cleared before the partitions' locks,
    /// which order it.
    armed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How often everything that had changed was looked for.
    begun: u64,
    /// The last time of those whose findings are on disk.
    done: u64,
    /// When to look next.
    due: Option<Duration>,
    /// Somebody waits for what has changed.
    wanted: bool,
    /// Somebody waits for what was recorded.
    recorded: bool,
    /// Batches that are on disk only may be loaded.
    load: bool,
    trouble: Option<Trouble>,
    over: bool,
    /// What is in memory is not all there is any more.
    sealed: bool,
}

impl State {
    fn work(&self, now: Duration) -> Option<Work> {
        let reached = |time: Option<Duration>| time.is_some_and(|time| time <= now);
        if self.over {
            return Some(Work::Over);
        }
        if let Some(trouble) = &self.trouble {
            return (!self.sealed && reached(Some(trouble.next_try))).then_some(Work::Replace);
        }
        if self.wanted || reached(self.due) {
            return Some(Work::Commit { all: true });
        }
        if self.recorded {
            return Some(Work::Commit { all: false });
        }
        self.load.then_some(Work::Load)
    }

    fn next(&self) -> Option<Duration> {
        self.trouble.as_ref().map_or(self.due, |trouble| (!self.sealed).then_some(trouble.next_try))
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { state: Signal::new(State::default()), armed: AtomicBool::new(false) }
    }

    /// Something has changed; called after the partition's lock is released.
    #[inline]
    pub(crate) fn note_change(&self, clock: &Clock, window: Duration) {
        if !self.armed.load(Ordering::Relaxed) {
            self.arm(clock, window);
        }
    }

    #[cold]
    fn arm(&self, clock: &Clock, window: Duration) {
        if !self.armed.swap(true, Ordering::Relaxed) {
            let due = clock.now().saturating_add(window);
            self.state.change(|state| {
                state.due = Some(state.due.map_or(due, |earlier| earlier.min(due)));
                true
            });
        }
    }

    /// Batches wait for being on disk.
    pub(crate) fn want_records(&self) {
        self.state.change(|state| !std::mem::replace(&mut state.recorded, true));
    }

    /// Batches that are on disk only may be loaded.
    pub(crate) fn want_load(&self) {
        self.state.change(|state| !std::mem::replace(&mut state.load, true));
    }

    /// Loading begins.
    pub(crate) fn begin_load(&self) {
        self.state.lock().load = false;
    }

    /// Asks for all that has changed by now to be on disk. Returns what to wait for.
    pub(crate) fn want_all(&self) -> u64 {
        let mut round = 0;
        self.state.change(|state| {
            round = state.begun + 1;
            !std::mem::replace(&mut state.wanted, true)
        });
        round
    }

    /// What became of a round, if that is known.
    fn outcome(state: &State, round: u64, patient: bool) -> Option<Result<(), Option<Arc<JournalError>>>> {
        match &state.trouble {
            _ if state.done >= round => Some(Ok(())),
            Some(trouble) if !patient || state.sealed => Some(Err(Some(Arc::clone(&trouble.error)))),
            _ if state.over => Some(Err(None)),
            _ => None,
        }
    }

    /// What became of a round, if that is known by now: an error without a cause if the buffer is over. `patient`: trouble
    /// with the disk is waited for as well.
    pub(crate) fn outcome_of(
        &self,
        round: u64,
        patient: bool,
    ) -> Option<Result<(), Option<Arc<JournalError>>>> {
        Self::outcome(&self.state.lock(), round, patient)
    }

    /// Waits until that is known, or until `deadline`.
    pub(crate) fn wait(&self, clock: &Clock, deadline: Duration, round: u64, patient: bool) {
        self.state.wait(clock, Some(deadline), |state| Self::outcome(state, round, patient));
    }

    /// As [`wait`](Self::wait), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(&self, clock: &Clock, deadline: Duration, round: u64, patient: bool) {
        self.state.wait_async(clock, Some(deadline), |state| Self::outcome(state, round, patient)).await;
    }

    /// What is to be done now.
    #[cfg(feature = "test-util")]
    pub(crate) fn work(&self, clock: &Clock) -> Option<Work> {
        self.state.lock().work(clock.now())
    }

    /// When something is to be done, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.state.lock().next()
    }

    /// Waits for something to do.
    pub(crate) fn wait_for_work(&self, clock: &Clock) -> Work {
        loop {
            let next = self.next();
            let look = |state: &mut State| match state.work(clock.now()) {
                Some(work) => Some(Some(work)),
                // Another time to wait for.
                None => (state.next() != next).then_some(None),
            };
            if let Some(Some(work)) = self.state.wait(clock, next, look) {
                return work;
            }
        }
    }

    /// A commit begins. Returns its round, if it looks for all that has changed.
    pub(crate) fn begin(&self, all: bool) -> u64 {
        let mut state = self.state.lock();
        state.recorded = false;
        if all {
            state.begun += 1;
            state.wanted = false;
            state.due = None;
            // Before any partition is looked at: what changes after that arms again.
            self.armed.store(false, Ordering::Relaxed);
            return state.begun;
        }
        state.done
    }

    /// All of a round is on disk. Says for how long that was not possible, if it was not.
    pub(crate) fn finish(&self, round: u64) -> Option<Trouble> {
        let mut trouble = None;
        self.state.change(|state| {
            state.done = state.done.max(round);
            trouble = state.trouble.take();
            true
        });
        trouble
    }

    /// The disk has failed. Says whether that is new.
    pub(crate) fn fail(&self, error: Arc<JournalError>, now: Duration) -> bool {
        let mut new = false;
        self.state.change(|state| {
            let (since, wait) = match &state.trouble {
                Some(trouble) => (trouble.since, (2 * trouble.wait).min(RETRY.1)),
                None => (now, Duration::ZERO),
            };
            new = state.trouble.is_none();
            let next_try = now.saturating_add(wait);
            state.trouble = Some(Trouble { error, since, next_try, wait: wait.max(RETRY.0) });
            true
        });
        new
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.state.lock().trouble.clone()
    }

    /// From here on the file is not made anew. To be told of by `tell`.
    pub(crate) fn seal(&self) {
        self.state.lock().sealed = true;
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.state.lock().sealed
    }

    pub(crate) fn tell(&self) {
        self.state.notify();
    }

    /// Nothing is written any more.
    pub(crate) fn end(&self) {
        self.state.change(|state| {
            state.over = true;
            true
        });
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        self.state.nudge();
    }
}
