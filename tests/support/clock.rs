use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use write_behind::ManualClock;

/// What decides what time it is.
#[derive(Clone)]
pub(crate) enum TestClock {
    Manual(ManualClock),
    Paused(Arc<Paused>),
}

/// A runtime of one thread whose time is paused and moves only when it is told to.
pub(crate) struct Paused {
    runtime: Handle,
    epoch: Instant,
    /// Ends the runtime when it is dropped.
    _end: oneshot::Sender<()>,
}

impl Paused {
    pub(super) fn start() -> Self {
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().expect("a runtime starts");
            let (end, ended) = oneshot::channel();
            // While a blocking task runs, paused time does not move by itself.
            let (hold, held) = std::sync::mpsc::channel::<()>();
            runtime.spawn_blocking(move || held.recv());
            let epoch = runtime.block_on(async { Instant::now() });
            ready.send(Paused { runtime: runtime.handle().clone(), epoch, _end: end }).expect("awaited");
            let _ = runtime.block_on(ended);
            drop(hold);
        });
        started.recv().expect("the runtime starts")
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl TestClock {
    pub(crate) fn now(&self) -> Duration {
        match self {
            TestClock::Manual(clock) => clock.now(),
            TestClock::Paused(paused) => {
                let _inside = paused.runtime.enter();
                paused.epoch.elapsed()
            }
        }
    }

    /// Moves the time on; also from inside a callback.
    pub(crate) fn advance(&self, by: Duration) {
        match self {
            TestClock::Manual(clock) => clock.advance(by),
            TestClock::Paused(paused) => {
                let _inside = paused.runtime.enter();
                let advance = pin!(tokio::time::advance(by));
                // The first poll moves the time; what is left of it only yields.
                let _ = advance.poll(&mut Context::from_waker(Waker::noop()));
                // Has the runtime look at its timers.
                drop(paused.runtime.spawn(async {}));
            }
        }
    }
}
