//! The end: everything in memory goes to the database, or else to the dead-letter file.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use write_behind::{ShutdownError, Sum, SummingBuffer, Undelivered, UndeliveredState};

use crate::backend::Backend;
use crate::dead_letters::Letter;

type Left = Vec<Undelivered<String, Sum<i64>>>;

/// How long a dead letter that is being written at the deadline may take, and the tidying up.
const GRACE: Duration = Duration::from_secs(5);

/// Drains the buffer by `deadline`. Says whether all that was ever accepted is stored.
pub(crate) async fn drain(buffer: &SummingBuffer<String, i64>, backend: &Backend, deadline: Instant) -> bool {
    let mut left = shut_down(buffer, deadline.saturating_duration_since(Instant::now())).await;
    let unaccounted = await_callbacks(buffer, &mut left).await;
    let saved = save(backend, &left).await;
    let written = backend.letters.written();
    if written > 0 {
        let path = backend.letters.path().display();
        eprintln!("counters: {written} totals could not be stored; they are in {path}");
    }
    if unaccounted > 0 {
        eprintln!("counters: {unaccounted} increments were still being handled");
    }
    let all_stored = saved && written == 0 && unaccounted == 0;
    if all_stored {
        retire(backend).await;
    }
    all_stored
}

async fn shut_down(buffer: &SummingBuffer<String, i64>, patience: Duration) -> Left {
    buffer.shutdown_async(patience).await.err().map_or_else(Vec::new, ShutdownError::into_undelivered)
}

/// `handle_error` may be at work on a key at the deadline, and give it back after it. Returns how
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
    eprintln!("counters: {}: {error}; what could not be stored:", backend.letters.path().display());
    for letter in letters {
        eprintln!("counters: {letter:?}");
    }
    false
}

fn letter(backend: &Backend, undelivered: &Undelivered<String, Sum<i64>>) -> Letter {
    let (sent, attempts, reason) = match undelivered.state() {
        UndeliveredState::Retrying { attempts, failure } => (true, *attempts, failure.to_string()),
        UndeliveredState::InCallback => (true, 0, "it was being written when time was up".to_owned()),
        // Went through `handle_error`: its batch is void.
        UndeliveredState::Unhandled { attempts, failure } => (false, *attempts, failure.to_string()),
        _ => (false, 0, "time was up before it was written".to_owned()),
    };
    let batch = undelivered.batch().filter(|_| sent).map(|batch| backend.ledger_id(batch));
    Letter::new(undelivered.key(), undelivered.data().0, batch, attempts, reason)
}

/// Nothing refers to this process's records any more. If they stay behind they are forgotten when
/// they are old.
async fn retire(backend: &Backend) {
    let problem = match timeout(GRACE, backend.store.retire(backend.writer)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    eprintln!("counters: everything is stored; the ledger could not be tidied up: {problem}");
}
