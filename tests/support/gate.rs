use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A callback that reaches a closed gate stands there until it is opened. Only for drivers whose
/// callbacks run on threads of their own.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// Waits until the gate is open.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.arrived += 1;
        changed.notify_all();
        let limit = Duration::from_secs(60);
        let (_state, waited) = changed.wait_timeout_while(state, limit, |state| !state.open).unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }

    /// Waits until so many have come to the gate.
    pub(crate) fn await_arrivals(&self, arrivals: usize) {
        let (state, changed) = &*self.0;
        let limit = Duration::from_secs(30);
        let state = state.lock().unwrap();
        let (_state, waited) =
            changed.wait_timeout_while(state, limit, |state| state.arrived < arrivals).unwrap();
        assert!(!waited.timed_out(), "nobody came to the gate");
    }

    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().open = true;
        changed.notify_all();
    }
}
