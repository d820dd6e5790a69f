use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::sync::{Condvar, Mutex};
use crate::error::FlushWaitError;
use crate::failure::FlushFailure;

/// One who waits for generations to be settled.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Guards what is still waited for and what has been learnt.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outstanding: u64,
    failure: Option<FlushFailure>,
    closed: bool,
}

/// A shared waiter that is equal only to itself.
#[derive(Debug, Clone)]
pub(crate) struct WaiterRef(Arc<Waiter>);

impl PartialEq for WaiterRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl WaiterRef {
    pub(crate) fn new() -> Self {
        WaiterRef(Arc::new(Waiter { state: Mutex::new(State::default()), changed: Condvar::new() }))
    }

    /// Waits for so many more. Called under the partition's lock, so that none of them can be
    /// settled before.
    pub(crate) fn expect(&self, generations: u32) {
        self.0.state.lock().outstanding += u64::from(generations);
    }

    /// One of them is settled; keeps the first failure.
    pub(crate) fn reach(&self, failure: Option<&FlushFailure>) {
        let mut state = self.0.state.lock();
        state.outstanding = state.outstanding.saturating_sub(1);
        if state.failure.is_none() {
            state.failure = failure.cloned();
        }
        if state.outstanding == 0 {
            self.0.changed.notify_all();
        }
    }

    /// The rest will never be settled.
    pub(crate) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// Has it look at the clock again.
    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        drop(self.0.state.lock());
        self.0.changed.notify_all();
    }

    /// The result, once there is one.
    pub(crate) fn result(&self) -> Option<Result<(), FlushWaitError>> {
        let state = self.0.state.lock();
        state.result()
    }

    /// Waits for the result until `deadline`.
    pub(crate) fn wait(&self, clock: &Clock, deadline: Duration) -> Option<Result<(), FlushWaitError>> {
        let mut state = self.0.state.lock();
        loop {
            let result = state.result();
            if result.is_some() || clock.now() >= deadline {
                return result;
            }
            clock.wait(&self.0.changed, &mut state, Some(deadline));
        }
    }
}

impl State {
    fn result(&self) -> Option<Result<(), FlushWaitError>> {
        match (&self.failure, self.outstanding, self.closed) {
            (None, 0, _) => Some(Ok(())),
            (Some(failure), 0, _) => Some(Err(FlushWaitError::Failed(failure.clone()))),
            (_, _, true) => Some(Err(FlushWaitError::Closed)),
            _ => None,
        }
    }
}
