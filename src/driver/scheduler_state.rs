use std::time::Duration;

use rand::rngs::SmallRng;

use crate::batch::Entry;

/// The scheduler's own state.
#[derive(Debug)]
pub(crate) struct SchedulerState<K, V> {
    /// The partition that the next survey starts with: where the last one stopped.
    pub(super) surveyed: usize,
    /// The partition that the next batch starts with.
    pub(super) cursor: usize,
    /// When statistics were told last.
    pub(super) measured_at: Duration,
    /// Since when there has been nothing to do.
    pub(super) idle_since: Option<Duration>,
    /// Where a batch is put together; kept for its memory.
    pub(super) taken: Vec<Entry<K, V>>,
    pub(super) random: SmallRng,
}

impl<K, V> SchedulerState<K, V> {
    pub(crate) fn new(random: SmallRng) -> Self {
        SchedulerState {
            surveyed: 0,
            cursor: 0,
            measured_at: Duration::ZERO,
            idle_since: None,
            taken: Vec::new(),
            random,
        }
    }
}
