//! The journal (`--journal`): what is in memory is on disk too.

use std::path::{Path, PathBuf};

use metrics::gauge;
use serde_json::{Value, json};
use tracing::{error, info, warn};
use write_behind::journal::Recovered;
use write_behind::{Stats, SummingBuffer};

/// Says what was found.
pub(crate) fn announce(path: Option<&Path>, found: Option<Recovered>) {
    if let (Some(path), Some(Recovered { epoch, keys, inserts, batches, .. })) = (path, found) {
        let path = path.display();
        info!(
            "the journal {path}, start {epoch}: found {inserts} increments of {keys} keys, {batches} batches"
        );
    }
}

/// What clients are told of it. `None` without a journal.
pub(crate) fn report(buffer: &SummingBuffer<String, i64>, stats: &Stats) -> Option<Value> {
    let Recovered { epoch, keys, inserts, batches, .. } = buffer.recovered()?;
    Some(json!({
        "commits": stats.journal_commits,
        "failures": stats.journal_failures,
        "failing_ms": stats.journal_failing_for.map(|time| time.as_millis() as u64),
        "found": { "epoch": epoch, "keys": keys, "inserts": inserts, "batches": batches },
    }))
}

/// For Prometheus: what the library does not publish by itself, and since when it cannot be written.
pub(crate) fn publish(buffer: &SummingBuffer<String, i64>) {
    let Some(found) = buffer.recovered() else { return };
    let failing = buffer.stats().journal_failing_for.unwrap_or_default();
    gauge!("counters_journal_failing_seconds").set(failing.as_secs_f64());
    gauge!("counters_journal_epoch").set(found.epoch as f64);
    gauge!("counters_journal_found_increments").set(found.inserts as f64);
}

/// What it holds is in the dead letters as well, because it could not be written any more: the next start shall not
/// count that twice.
pub(crate) fn set_aside(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(".failed");
    let aside = PathBuf::from(name);
    match std::fs::rename(path, &aside) {
        Ok(()) => warn!("the journal could not be written any more; it is {} now", aside.display()),
        Err(error) => error!(%error, "the journal {} must be removed before the next start", path.display()),
    }
}
