//! A virtual year of a million keys, with a load that jumps: each flush is within its range.
//!
//! `WRITE_BEHIND_DAYS` says how many days (default 1), and `WRITE_BEHIND_KEYS` how many keys (default 20 000).

#[path = "support/chance.rs"]
mod chance;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chance::{Random, from_environment, seed};
use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, FlushReason, ManualClock, Sum};

const HOUR: u64 = 3_600_000;
const INTERVAL: u64 = 6 * HOUR;
const JITTER: u64 = HOUR;

/// When each key's generation began, in milliseconds, plus one; 0 if it has none.
struct Watch {
    began: Mutex<Vec<u64>>,
    clock: ManualClock,
}

impl Watch {
    fn now(&self) -> u64 {
        self.clock.now().as_millis() as u64
    }
}

struct Checks(Arc<Watch>);

impl DataBuffer<u64, Sum<i64>> for Checks {
    fn handle_flush(&self, key: &u64, _: &Sum<i64>, context: &FlushContext) -> Result<(), FlushError> {
        let began = std::mem::take(&mut self.0.began.lock().unwrap()[*key as usize]);
        assert!(began > 0, "key {key} had no data");
        let age = self.0.now() - (began - 1);
        // A millisecond is a tick.
        assert!((INTERVAL..=INTERVAL + JITTER + 1).contains(&age), "key {key} was flushed after {age} ms");
        assert_eq!((context.reason(), context.attempt()), (FlushReason::Deadline, 1));
        Ok(())
    }
}

#[test]
fn no_flush_is_outside_its_range() {
    let days = from_environment("WRITE_BEHIND_DAYS", 1);
    let keys = from_environment("WRITE_BEHIND_KEYS", 20_000);
    let clock = ManualClock::new();
    let watch = Arc::new(Watch { began: Mutex::new(vec![0; keys as usize]), clock: clock.clone() });
    let buffer = Buffer::builder()
        .interval(Duration::from_millis(INTERVAL))
        .jitter(Duration::from_millis(JITTER))
        .partitions(2)
        .max_keys(keys)
        .seed(seed())
        .start_inline(Checks(Arc::clone(&watch)), &clock)
        .unwrap();
    let mut random = Random(seed());
    let mut inserts = 0;
    let end = days * 24 * HOUR;
    while watch.now() < end {
        // Nothing, a few, or a storm, and then up to ten hours of silence, or hardly a millisecond.
        let burst = [0, 0, 1, 10, keys / 1_000, keys / 50, keys / 10][random.below(7) as usize];
        for _ in 0..burst {
            let key = random.below(keys);
            let now = watch.now() + 1;
            let mut began = watch.began.lock().unwrap();
            if began[key as usize] == 0 {
                began[key as usize] = now;
            }
            drop(began);
            buffer.add(&key, 1).unwrap();
        }
        inserts += burst;
        let pause = [1, 50, 7_000, HOUR, 10 * HOUR][random.below(5) as usize];
        clock.advance(Duration::from_millis(1 + random.below(pause)));
        let stats = buffer.stats();
        assert_eq!((stats.balance(), stats.failures, stats.panics), (0, 0, 0), "{stats:?}");
    }
    clock.advance(Duration::from_millis(INTERVAL + JITTER + 1));
    let stats = buffer.stats();
    assert_eq!((stats.flushed, stats.pending), (inserts, 0), "{stats:?}");
    println!("counted: {days} days, {inserts} inserts, {} flushes", stats.flushes);
}
