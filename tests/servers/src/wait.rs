//! Waiting for something to become true, with an end.

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; only a failing test waits this long.
pub const LIMIT: Duration = Duration::from_secs(600);

/// Looks again and again until `look` finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: waited {LIMIT:?} until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
