use std::time::Duration;

use crate::driver::sync::{AtomicBool, Mutex, Ordering};
use crate::failure::FailureCause;

/// What a health check wants to know of the sink.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Guards what went wrong.
    seen: Mutex<Seen>,
    /// There is a `since`. Changed with it, under the lock. Relaxed: a success that comes at the same time as a failure may count before or
    /// after it.
    lasts: AtomicBool,
}

/// What went wrong, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Every answer since then was the failure of a whole batch.
    pub(crate) since: Option<Duration>,
    pub(crate) last: Option<(FailureCause, Duration)>,
}

impl Trouble {
    /// An attempt failed; `wholly`: the sink has stored nothing.
    pub(super) fn failed(&self, cause: &FailureCause, wholly: bool, now: Duration) {
        let mut seen = self.seen.lock();
        seen.last = Some((cause.clone(), now));
        seen.since = if wholly { Some(seen.since.unwrap_or(now)) } else { None };
        self.lasts.store(wholly, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self) {
        if self.lasts.load(Ordering::Relaxed) {
            let mut seen = self.seen.lock();
            seen.since = None;
            // Under the lock, so that it never contradicts what it stands for.
            self.lasts.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}
