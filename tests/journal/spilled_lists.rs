//! What waits on disk keeps its order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::journal::{Journal, SimulatedDisk};
use write_behind::{
    BatchDataBuffer, Buffer, Builder, DataBuffer, DeadLetter, FlushBatch, FlushContext, FlushError,
    ManualClock, RetryPolicy, Verdict,
};

use super::life::{INTERVAL, WINDOW, ms};
use super::spill::SPILL;

/// Takes lists of numbers, and sees to it that those of a key come one after the other.
#[derive(Clone, Default)]
struct Lists(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    lists: BTreeMap<u64, Vec<u64>>,
    away: bool,
}

impl Lists {
    fn be_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    fn append(&self, key: u64, items: &[u64]) -> Result<(), FlushError> {
        let table = &mut *self.0.lock().unwrap();
        if table.away {
            return Err(FlushError::not_applied("away"));
        }
        table.lists.entry(key).or_default().extend(items);
        Ok(())
    }

    fn has_all(&self, keys: u64, rounds: u64) {
        let table = &*self.0.lock().unwrap();
        for key in 0..keys {
            assert_eq!(table.lists[&key], (0..rounds).collect::<Vec<_>>(), "of key {key}");
        }
    }
}

impl BatchDataBuffer<u64, Vec<u64>> for Lists {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, Vec<u64>>) -> Result<(), FlushError> {
        if self.0.lock().unwrap().away {
            return Err(FlushError::not_applied("away"));
        }
        batch.entries().iter().try_for_each(|entry| self.append(*entry.key(), entry.data()))
    }
}

/// The same, key by key, and some are put back.
struct KeyByKey(Lists);

impl DataBuffer<u64, Vec<u64>> for KeyByKey {
    fn handle_flush(&self, key: &u64, data: &Vec<u64>, _: &FlushContext) -> Result<(), FlushError> {
        self.0.append(*key, data)
    }

    fn handle_error(&self, letter: DeadLetter<u64, Vec<u64>>) -> Verdict<u64, Vec<u64>> {
        Verdict::Requeue(letter)
    }
}

fn lists() -> (Builder<u64, Vec<u64>>, ManualClock, SimulatedDisk) {
    let disk = SimulatedDisk::new(1);
    let builder = Buffer::builder()
        .interval(INTERVAL)
        .jitter(Duration::ZERO)
        .partitions(2)
        .max_keys(8)
        .overflow(SPILL)
        .journal(Journal::at("journal").simulated(&disk).window(WINDOW));
    (builder, ManualClock::new(), disk)
}

#[test]
fn a_keys_data_keeps_its_order() {
    for takes_batches in [true, false] {
        for attempts in [1, 2, 1_000] {
            let (builder, clock, _disk) = lists();
            let builder = builder.retry(RetryPolicy::fixed(attempts, ms(20)));
            let sink = Lists::default();
            let buffer = if takes_batches && attempts == 1_000 {
                builder.start_inline(sink.clone(), &clock).unwrap()
            } else {
                builder.start_inline(KeyByKey(sink.clone()), &clock).unwrap()
            };
            for round in 0..40 {
                sink.be_away(round % 10 < 7);
                for key in 0..20 {
                    buffer.insert(key, round).unwrap();
                }
                clock.advance(ms(round % 4 * 40));
                assert_eq!(buffer.stats().balance(), 0);
            }
            sink.be_away(false);
            clock.advance(INTERVAL * 200);
            let stats = buffer.stats();
            assert_eq!((stats.spilled, stats.pending, stats.in_flight), (0, 0, 0), "{stats:?}");
            sink.has_all(20, 40);
        }
    }
}
