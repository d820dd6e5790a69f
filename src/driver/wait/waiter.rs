use std::sync::Arc;
use std::time::Duration;

use super::signal::Signal;
use crate::driver::clock::Clock;
use crate::error::FlushWaitError;
use crate::failure::FailureCause;

/// One who waits for generations to be settled.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// What is still waited for and what has been learnt.
    state: Signal<State>,
}

#[derive(Debug, Default)]
struct State {
    outstanding: u64,
    failure: Option<FailureCause>,
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
        WaiterRef(Arc::new(Waiter { state: Signal::new(State::default()) }))
    }

    /// Waits for so many more. Called under the partition's lock, so that none of them can be
    /// settled before.
    pub(crate) fn expect(&self, generations: u32) {
        self.0.state.lock().outstanding += u64::from(generations);
    }

    /// So many of them are settled; keeps the first failure.
    pub(crate) fn reach(&self, generations: u32, failure: Option<&FailureCause>) {
        self.0.state.change(|state| {
            state.outstanding = state.outstanding.saturating_sub(u64::from(generations));
            if state.failure.is_none() {
                state.failure = failure.cloned();
            }
            state.outstanding == 0
        });
    }

    /// The rest will never be settled.
    pub(crate) fn close(&self) {
        self.0.state.change(|state| {
            state.closed = true;
            true
        });
    }

    /// Has it look at the clock again.
    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        self.0.state.nudge();
    }

    /// The result, once there is one.
    pub(crate) fn result(&self) -> Option<Result<(), FlushWaitError>> {
        self.0.state.lock().result()
    }

    /// Waits for the result until `deadline`.
    pub(crate) fn wait(&self, clock: &Clock, deadline: Duration) {
        self.0.state.wait(clock, Some(deadline), |state| state.result());
    }

    /// As [`wait`](Self::wait), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(&self, clock: &Clock, deadline: Duration) {
        self.0.state.wait_async(clock, Some(deadline), |state| state.result()).await;
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
