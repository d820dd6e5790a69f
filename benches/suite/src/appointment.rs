//! Keys that are all due at one instant, by their deadlines.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use write_behind::{BatchDataBuffer, Buffer, Builder, FlushBatch, FlushError, Sum, SummingBuffer};

use crate::peers::builder;
use crate::scale::Scale;

/// Counts the keys that it is handed, and does nothing with them.
struct Arrivals(Arc<AtomicU64>);

impl BatchDataBuffer<u64, Sum<i64>> for Arrivals {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, Sum<i64>>) -> Result<(), FlushError> {
        // Relaxed: it is only a number.
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) struct Appointment {
    pub(crate) buffer: SummingBuffer<u64, i64>,
    /// When the keys are due.
    pub(crate) at: Instant,
    keys: u64,
    arrived: Arc<AtomicU64>,
}

impl Appointment {
    /// A buffer that holds keys which are `due` at one instant soon, and others that stay.
    pub(crate) fn make(scale: Scale, batch: usize, due: &Range<u64>, staying: &Range<u64>) -> Self {
        let mut lead = Duration::from_millis(if scale.real { 1_000 } else { 50 });
        loop {
            let appointment = Appointment::attempt(lead, batch, due);
            for key in due.clone().chain(staying.clone()) {
                appointment.buffer.add(&key, 1).expect("there is room");
            }
            if Instant::now() < appointment.at {
                let stats = appointment.buffer.stats();
                assert_eq!((stats.flushed, stats.in_flight), (0, 0), "nothing is due yet");
                return appointment;
            }
            // The machine was too slow to fill it in time.
            lead *= 2;
        }
    }

    fn attempt(lead: Duration, batch: usize, due: &Range<u64>) -> Self {
        let arrived = Arc::new(AtomicU64::new(0));
        let at = Instant::now() + lead;
        let keys = due.end - due.start;
        let due = due.clone();
        // A key's next generation stays.
        let policy =
            move |key: &u64, _: &Sum<i64>, _: Duration| match at.checked_duration_since(Instant::now()) {
                Some(left) if due.contains(key) => left,
                _ => Duration::MAX,
            };
        let builder: Builder<u64, Sum<i64>> = builder().interval_policy(policy);
        // One worker; what stays need not be flushed in the end.
        let builder = builder.flush_concurrency(1).max_batch_keys(batch).drop_timeout(Duration::ZERO);
        let buffer: Buffer<_, _> = builder.start(Arrivals(Arc::clone(&arrived))).expect("valid settings");
        Appointment { buffer, at, keys, arrived }
    }

    /// Whether the sink has been handed all keys that were due.
    pub(crate) fn is_over(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) >= self.keys
    }
}
