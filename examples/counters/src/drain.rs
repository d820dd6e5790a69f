//! The end: everything in memory goes to the database, or else to the dead-letter file.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use write_behind::{Leftovers, ShutdownError, Sum, SummingBuffer, Undelivered, UndeliveredState};

use crate::backend::Backend;
use crate::dead_letters::Letter;

type Left = Vec<Undelivered<String, Sum<i64>>>;

/// How long a dead letter that is being written at the deadline may take.
const GRACE: Duration = Duration::from_secs(5);

/// Drains the buffer by `deadline`. Says whether all that was ever accepted is stored.
pub(crate) async fn drain(buffer: &SummingBuffer<String, i64>, backend: &Backend, deadline: Instant) -> bool {
    let patience = deadline.saturating_duration_since(Instant::now());
    let mut left = shut_down(buffer, patience).await.into_iter().collect();
    let unaccounted = await_callbacks(buffer, &mut left).await;
    let saved = save(backend, &left).await;
    let written = backend.letters.written();
    if written > 0 {
        let path = backend.letters.path().display();
        tracing::error!("{written} totals could not be stored; they are in {path}");
    }
    if unaccounted > 0 {
        tracing::error!("{unaccounted} increments were still being handled");
    }
    saved && written == 0 && unaccounted == 0
}

async fn shut_down(buffer: &SummingBuffer<String, i64>, patience: Duration) -> Leftovers<String, Sum<i64>> {
    let result = buffer.shutdown_async(patience).await;
    result.err().map_or_else(Leftovers::default, ShutdownError::into_undelivered)
}

/// `handle_error` may be at work on a key at the deadline, and keep its data after that. Returns how
/// many increments nobody has answered for.
async fn await_callbacks(buffer: &SummingBuffer<String, i64>, left: &mut Left) -> u64 {
    let deadline = Instant::now() + GRACE;
    loop {
        left.extend(shut_down(buffer, Duration::ZERO).await);
        let in_flight = buffer.stats().in_flight;
        if in_flight == 0 || Instant::now() >= deadline {
            return in_flight;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn save(backend: &Backend, left: &Left) -> bool {
    if left.is_empty() {
        return true;
    }
    let letters: Vec<_> = left.iter().map(|undelivered| letter(backend, undelivered)).collect();
    let Err(error) = backend.letters.append(letters.clone()).await else { return true };
    let path = backend.letters.path().display();
    tracing::error!(%error, "{path} cannot be written to; what could not be stored:");
    for letter in letters {
        tracing::error!("{letter:?}");
    }
    false
}

fn letter(backend: &Backend, undelivered: &Undelivered<String, Sum<i64>>) -> Letter {
    let (attempts, reason) = match undelivered.state() {
        UndeliveredState::Retrying { attempts, cause } | UndeliveredState::GivenUp { attempts, cause } => {
            (*attempts, cause.to_string())
        }
        UndeliveredState::InCallback => (0, "it was being written when time was up".to_owned()),
        _ => (0, "time was up before it was written".to_owned()),
    };
    let batch = undelivered.batch().filter(|_| undelivered.may_be_applied());
    let batch = batch.map(|batch| backend.ledger_id(batch));
    Letter::new(undelivered.key(), undelivered.data().0, batch, attempts, reason)
}
