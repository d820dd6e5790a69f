//! Reads a counter exactly while it is being counted and written.

use serde::Serialize;
use write_behind::{Peek, Sum, SummingBuffer};

use crate::backend::Backend;
use crate::store::StoreError;

/// How often a read begins anew when a flush got in between. A flush takes milliseconds and the
/// key is taken once per interval, so the second look nearly always succeeds.
const ATTEMPTS: usize = 100;

/// The sums are wider than what the database holds, so that they never wrap.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Counter {
    key: String,
    /// What is in the database.
    persisted: i128,
    /// What is in memory, in flight included.
    pending: i128,
    total: i128,
}

impl Counter {
    pub(crate) fn new(key: &str, persisted: i128, pending: i128) -> Self {
        Counter { key: key.to_owned(), persisted, pending, total: persisted + pending }
    }
}

#[derive(Debug)]
pub(crate) enum ReadError {
    Store(StoreError),
    /// Flushed and filled again faster than it can be read.
    Restless,
}

/// `None` for a key never seen.
///
/// The buffer and the database cannot be read at one instant, and data moves from the one to the
/// other. So: look into the buffer; read the counter and, in the same statement, whether the batch
/// seen in flight is already part of it; look again. The reading is right unless data was *taken*
/// between the two looks. It was not if the same batch was in flight both times (a key has at most
/// one), and with none in flight if no flush began meanwhile or the pending data is what it was.
/// More pending data in the second look does no harm: the answer is as of the first.
///
/// Exact where what was flushed can be read. With `--sink nats` it may still be in the stream.
pub(crate) async fn read(
    buffer: &SummingBuffer<String, i64>,
    backend: &Backend,
    key: &str,
) -> Result<Option<Counter>, ReadError> {
    for _ in 0..ATTEMPTS {
        let begun = backend.flushes_begun();
        let seen = buffer.peek(key);
        let flight = seen.in_flight.map(|(_, batch)| batch);
        let reading = backend.store.read(key, flight.map(|batch| backend.ledger_id(batch))).await;
        let reading = reading.map_err(ReadError::Store)?;
        let now = buffer.peek(key);
        let same_flight = now.in_flight.map(|(_, batch)| batch) == flight;
        let nothing_taken =
            flight.is_some() || backend.flushes_begun() == begun || now.pending == seen.pending;
        if !same_flight || !nothing_taken {
            continue;
        }
        if reading.value.is_none() && seen.is_empty() {
            return Ok(None);
        }
        let pending = in_memory(&seen, reading.applied);
        return Ok(Some(Counter::new(key, reading.value.unwrap_or(0), pending)));
    }
    Err(ReadError::Restless)
}

/// What is in the buffer and not in the database.
pub(crate) fn in_memory(seen: &Peek<Sum<i64>>, in_flight_is_applied: bool) -> i128 {
    let in_flight = seen.in_flight.filter(|_| !in_flight_is_applied).map(|(sum, _)| sum);
    seen.pending.iter().chain(&in_flight).map(|sum| i128::from(sum.0)).sum()
}
