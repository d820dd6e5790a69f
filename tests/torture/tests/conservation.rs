//! 64 threads and a sink that fails at random: the sum of each key is what was inserted.
//!
//! `WRITE_BEHIND_INSERTS` says how many inserts (default 200 000).

#[path = "support/chance.rs"]
mod chance;
#[path = "support/totals.rs"]
mod totals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use chance::{Random, from_environment, seed};
use totals::Totals;
use write_behind::{
    BatchDataBuffer, Buffer, FlushBatch, FlushError, Overflow, RetryPolicy, Sum, SummingBuffer,
};

const THREADS: u64 = 64;
const KEYS: u64 = 4_096;

struct Failing {
    totals: Arc<Totals>,
    attempts: AtomicU64,
    seed: u64,
}

impl BatchDataBuffer<u64, Sum<i64>> for Failing {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, Sum<i64>>) -> Result<(), FlushError> {
        let apply = || {
            let entries = batch.entries().iter().map(|entry| (*entry.key(), entry.data().0));
            self.totals.apply(batch.id(), batch.settled_below(), entries);
        };
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        match Random(self.seed ^ attempt).below(16) {
            0 => Err(FlushError::unknown("lost before")),
            1 => {
                apply();
                Err(FlushError::unknown("lost after"))
            }
            2 if !self.totals.is_applied(batch.id()) => Err(FlushError::not_applied("refused")),
            3 => panic!("the sink panics"),
            _ => {
                apply();
                Ok(())
            }
        }
    }
}

#[test]
fn what_64_threads_insert_is_what_comes_out() {
    let inserts = from_environment("WRITE_BEHIND_INSERTS", 200_000) / THREADS * THREADS;
    // Panics are part of it; what they say is not.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"the sink panics") {
            eprintln!("{panic}");
        }
    }));
    let totals = Arc::new(Totals::new(KEYS as usize));
    let sink = Failing { totals: Arc::clone(&totals), attempts: AtomicU64::new(0), seed: seed() };
    let buffer: SummingBuffer<u64, i64> = Buffer::builder()
        .interval(Duration::from_millis(5))
        .jitter(Duration::from_millis(5))
        .max_batch_keys(100)
        .max_keys(KEYS / 2)
        .overflow(Overflow::Block { timeout: Duration::from_secs(600) })
        .retry(RetryPolicy::new().delay(Duration::from_millis(1)).cap(Duration::from_millis(10)))
        .start(sink)
        .unwrap();
    let all_inserted = Totals::new(KEYS as usize);
    let insert = |thread: u64| {
        let mut random = Random(seed() ^ (thread << 40));
        let mut inserted = vec![0; KEYS as usize];
        for _ in 0..inserts / THREADS {
            // Half of them into 16 keys.
            let number = random.next();
            let key = if number.is_multiple_of(2) { (number >> 8) % 16 } else { (number >> 8) % KEYS };
            let amount = (number >> 40) as i64 % 1_000 - 400;
            buffer.add(&key, amount).unwrap();
            inserted[key as usize] += amount;
        }
        inserted.iter().zip(0..).for_each(|(sum, key)| all_inserted.add(key, *sum));
    };
    thread::scope(|scope| {
        let insert = &insert;
        (0..THREADS).for_each(|thread| drop(scope.spawn(move || insert(thread))));
    });
    buffer.shutdown(Duration::from_secs(600)).unwrap();
    let stats = buffer.stats();
    assert_eq!((stats.balance(), stats.accepted, stats.flushed), (0, inserts, inserts), "{stats:?}");
    assert!(stats.retries > 0, "{stats:?}");
    assert!(totals.all() == all_inserted.all(), "the sums differ");
    println!("counted: {inserts} inserts; {} attempts, {} failures", stats.flushes, stats.failures);
}
