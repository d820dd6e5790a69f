//! The end: everything in memory goes to the database, or else stays in the journal or goes to the dead-letter file.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use write_behind::exactly_once::StoreError;
use write_behind::{Leftovers, ShutdownError, Sum, SummingBuffer};

use crate::backend::Backend;
use crate::journal;

/// How long a dead letter that is being written at the deadline may take.
const GRACE: Duration = Duration::from_secs(5);

/// Drains the buffer by `deadline`; with a journal only for as long as the database answers. Says whether all that was
/// ever accepted is stored, or in the journal.
pub(crate) async fn drain(
    buffer: &SummingBuffer<String, i64>,
    backend: &Backend,
    journal: Option<&Path>,
    deadline: Instant,
) -> bool {
    let patience = deadline.saturating_duration_since(Instant::now());
    let mut left = Vec::new();
    tokio::select! {
        biased;
        () = backend.outage(), if journal.is_some() => {}
        undelivered = shut_down(buffer, patience) => left.extend(undelivered),
    }
    // `handle_error` may be at work on a key at the deadline, and keep its data after that.
    let unaccounted = loop {
        left.extend(shut_down(buffer, Duration::ZERO).await);
        let in_flight = buffer.stats().in_flight;
        if in_flight == 0 || Instant::now() >= deadline + GRACE {
            break in_flight;
        }
        sleep(Duration::from_millis(5)).await;
    };

    let path = backend.letters.path().display();
    let (mut saved, journaled) = (true, buffer.stats().journaled);
    if !left.is_empty() {
        match (backend.letters.add_undelivered(&left), journal) {
            (Ok(_), Some(journal)) => journal::set_aside(journal),
            (Ok(_), None) => {}
            (Err(error), _) => {
                saved = false;
                tracing::error!(%error, "{path} cannot be written to; what could not be stored:");
                left.iter().for_each(|left| tracing::error!("{left:?}"));
            }
        }
    }
    if journaled > 0 {
        tracing::info!("{journaled} increments stay in the journal, for the next start");
    }
    let written = backend.letters.written();
    if written > 0 {
        tracing::error!("{written} totals could not be stored; they are in {path}");
    }
    if unaccounted > 0 {
        tracing::error!("{unaccounted} increments were still being handled");
    }
    // Nor is there anybody to fold it if what is in memory could not be written.
    let until = if journaled > 0 { Instant::now() } else { deadline.max(Instant::now()) };
    let fold_all = async {
        while backend.counters.fold().await? == Some(Duration::ZERO) {}
        Ok::<_, StoreError>(())
    };
    match timeout_at(until, fold_all).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the log is folded by the next process"),
        Err(_) => tracing::warn!("no time was left to fold the log: the next process does it"),
    }
    saved && written == 0 && unaccounted == 0
}

async fn shut_down(buffer: &SummingBuffer<String, i64>, patience: Duration) -> Leftovers<String, Sum<i64>> {
    let result = buffer.shutdown_async(patience).await;
    result.err().map_or_else(Leftovers::default, ShutdownError::into_undelivered)
}
