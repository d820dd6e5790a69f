use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

/// A callback that reaches a closed gate stays there until it is opened. Only for drivers whose
/// callbacks run beside the test.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    opened: Notify,
}

#[derive(Default)]
struct State {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// Waits until the gate is open.
    pub(crate) fn pass(&self) {
        self.arrive();
        let (state, limit) = (self.0.state.lock().unwrap(), Duration::from_secs(300));
        let (_state, waited) = self.0.changed.wait_timeout_while(state, limit, |state| !state.open).unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }

    /// Waits until the gate is open, for a task.
    pub(crate) async fn pass_async(&self) {
        let opened = self.0.opened.notified();
        if !self.arrive() {
            opened.await;
        }
    }

    /// Whether it is open.
    fn arrive(&self) -> bool {
        let mut state = self.0.state.lock().unwrap();
        state.arrived += 1;
        self.0.changed.notify_all();
        state.open
    }

    /// Waits until so many have come to the gate.
    pub(crate) fn await_arrivals(&self, arrivals: usize) {
        let (state, limit) = (self.0.state.lock().unwrap(), Duration::from_secs(30));
        let few = |state: &mut State| state.arrived < arrivals;
        let (_state, waited) = self.0.changed.wait_timeout_while(state, limit, few).unwrap();
        assert!(!waited.timed_out(), "nobody came to the gate");
    }

    pub(crate) fn open(&self) {
        self.0.state.lock().unwrap().open = true;
        self.0.changed.notify_all();
        self.0.opened.notify_waiters();
    }
}
