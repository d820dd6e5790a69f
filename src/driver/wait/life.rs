use std::time::Duration;

use super::signal::Signal;
use crate::driver::clock::Clock;

/// The stages of a buffer's life, in this order and never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes inserts.
    Open,
    /// Somebody is closing the partitions one by one.
    Closing,
    /// No insert can get in any more; what is there is being flushed.
    Draining,
    /// Nothing is in here any more, or what is left has been put aside as undelivered.
    Closed,
    /// All callbacks are back, and the sink is gone.
    Retired,
}

#[derive(Debug)]
pub(crate) struct Life {
    /// The phase and the deadline that goes with it.
    state: Signal<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When draining ends; the earliest that anybody asked for.
    deadline: Option<Duration>,
}

impl Life {
    pub(crate) fn new() -> Self {
        Life { state: Signal::new(State { phase: Phase::Open, deadline: None }) }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// When draining has to end.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.state.lock().deadline
    }

    /// Asks for the end by `deadline`. True for the one caller that has to close the partitions.
    pub(crate) fn begin_closing(&self, deadline: Duration) -> bool {
        let mut state = self.state.lock();
        state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        let first = state.phase == Phase::Open;
        if first {
            state.phase = Phase::Closing;
        }
        first
    }

    /// Begins a phase, of which [`tell`](Self::tell) tells.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        state.phase = state.phase.max(phase);
    }

    /// Tells those who wait for a phase. Called without any lock.
    pub(crate) fn tell(&self) {
        self.state.notify();
    }

    /// Waits until the buffer is retired, or until `deadline`.
    pub(crate) fn wait_retired(&self, clock: &Clock, deadline: Duration) {
        self.state.wait(clock, Some(deadline), State::retired);
    }

    /// As [`wait_retired`](Self::wait_retired), for a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_retired_async(&self, clock: &Clock, deadline: Duration) {
        self.state.wait_async(clock, Some(deadline), State::retired).await;
    }

    /// Waits while another caller closes the partitions, which takes no time to speak of.
    pub(crate) fn wait_gate_closed(&self, clock: &Clock) {
        self.state.wait(clock, None, |state| (state.phase != Phase::Closing).then_some(()));
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn nudge(&self) {
        self.state.nudge();
    }
}

impl State {
    fn retired(&mut self) -> Option<()> {
        (self.phase == Phase::Retired).then_some(())
    }
}
