use std::sync::Arc;
use std::time::Duration;

use crate::failure::FailureCause;
use crate::journal::JournalError;
use crate::stats::Stats;

/// What a health check wants to know: from [`Buffer::health`](crate::Buffer::health).
///
/// A buffer whose database is away goes on accepting until it is full, so this is to be looked at: how long
/// flushes have been failing, how old the oldest data has become, and how much room is left. With a journal also whether
/// that is written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// For how long every attempt has failed wholly; `None` if the last answer was a success, or named entries
    /// that failed while others did not, or if there was none yet. The same as [`Stats::degraded_for`].
    pub degraded_for: Option<Duration>,
    /// How the last attempt that failed did so, and how long ago. Stays when all is well again.
    pub last_failure: Option<(FailureCause, Duration)>,
    /// Why the journal cannot be written at this moment; `None` if it can, or if there is none. For how long:
    /// [`Stats::journal_failing_for`]. Feature `journal`.
    pub journal_failure: Option<Arc<JournalError>>,
    /// The counters, with the age of the oldest pending data, and keys and weight beside their bounds.
    pub stats: Stats,
}

impl Health {
    /// How full the buffer is, from 0 to 1: the part of the bound on keys that is in use, or of the one on weight
    /// if that is more. Weight that was not announced may bring it above 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::Health;
    ///
    /// /// Ready for more requests?
    /// fn is_ready(health: &Health) -> bool {
    ///     let minutes = Duration::from_secs(5 * 60);
    ///     let takes_all = health.fullness() < 0.8 && health.journal_failure.is_none();
    ///     takes_all && health.degraded_for.is_none_or(|time| time < minutes)
    /// }
    /// # let views = write_behind::Buffer::builder().start(|_: &u8, _: &Vec<u8>| Ok::<(), String>(())).unwrap();
    /// # assert!(is_ready(&views.health()));
    /// ```
    #[must_use]
    pub fn fullness(&self) -> f64 {
        let Stats { keys, max_keys, weight, max_weight, .. } = self.stats;
        (keys as f64 / max_keys as f64).max(weight as f64 / max_weight as f64)
    }
}
