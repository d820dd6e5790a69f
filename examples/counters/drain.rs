//! The end: everything in memory goes to the database, or else to the dead-letter file.

use std::time::{Duration, Instant};

use write_behind::{ShutdownError, Sum, SummingBuffer, Undelivered, UndeliveredState};

use crate::backend::Backend;
use crate::dead_letters::Letter;

type Left = Vec<Undelivered<String, Sum<i64>>>;

/// How long a dead letter that is being written at the deadline may take.
const GRACE: Duration = Duration::from_secs(5);

/// Drains the buffer by `deadline`. Says whether all that was ever accepted is stored.
pub(crate) fn drain(buffer: &SummingBuffer<String, i64>, backend: &Backend, deadline: Instant) -> bool {
    let mut left = shut_down(buffer, deadline.saturating_duration_since(Instant::now()));
    let unaccounted = await_callbacks(buffer, &mut left);
    let saved = save(backend, &left);
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
        retire(backend);
    }
    all_stored
}

fn shut_down(buffer: &SummingBuffer<String, i64>, patience: Duration) -> Left {
    buffer.shutdown(patience).err().map_or_else(Vec::new, ShutdownError::into_undelivered)
}

/// `handle_error` may be at work on a key at the deadline, and give it back after it. Returns how
/// many increments nobody has answered for.
fn await_callbacks(buffer: &SummingBuffer<String, i64>, left: &mut Left) -> u64 {
    let deadline = Instant::now() + GRACE;
    loop {
        left.extend(shut_down(buffer, Duration::ZERO));
        let in_flight = buffer.stats().in_flight;
        if in_flight == 0 || Instant::now() >= deadline {
            return in_flight;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn save(backend: &Backend, left: &Left) -> bool {
    if left.is_empty() {
        return true;
    }
    let letters: Vec<_> = left.iter().map(|undelivered| letter(backend, undelivered)).collect();
    let Err(error) = backend.letters.append(letters.clone()) else { return true };
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
fn retire(backend: &Backend) {
    if let Err(error) = backend.store.retire(backend.writer) {
        eprintln!("counters: everything is stored; the ledger could not be tidied up: {error}");
    }
}
