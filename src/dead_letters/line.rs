//! A line of the file.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::batch::BatchId;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line<K, V> {
    /// The batch id under which it is sent.
    pub(super) id: String,
    pub(super) key: K,
    pub(super) data: V,
    pub(super) count: u64,
    /// Why it is here, for people, as what follows.
    pub(super) reason: String,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// A batch that may have been applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) in_doubt: Option<String>,
    /// Its place in that batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<usize>,
}

impl<K, V> Line<K, V> {
    pub(super) fn new(
        id: BatchId,
        (key, data, count): (K, V, u64),
        reason: String,
        in_doubt: Option<(BatchId, usize)>,
    ) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (in_doubt, place) = in_doubt.map(|(batch, place)| (batch.to_string(), place)).unzip();
        Line { id: id.to_string(), key, data, count, reason, at, in_doubt, place }
    }
}
