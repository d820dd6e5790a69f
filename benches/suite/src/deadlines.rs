//! How late a flush is: the time from a generation's deadline to the call of the sink. It never is
//! early; that would be a panic here.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use write_behind::{BatchDataBuffer, Buffer, FlushBatch, FlushError, Min};

use crate::peers::builder;
use crate::quantiles::{self, Quantiles, histogram, quantiles};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const PEER: &str = "write-behind";
const NANOS_PER_MS: f64 = 1e6;
const INTERVALS_MS: [u64; 5] = [1, 3, 10, 50, 150];
/// From here on keys are inserted all the time, and are not looked at.
const BUSY: u64 = 1 << 40;
const LIMIT: Duration = Duration::from_secs(600);

/// The earliest insert of a generation. Taken just before the insert, so that nothing flatters.
type FirstInsert = Min<Instant>;

/// The interval with a jitter that is drawn from the key, so that the sink knows it too.
#[derive(Debug, Clone, Copy)]
struct Stay {
    interval: Duration,
    jitter: Duration,
}

impl Stay {
    fn of(self, key: u64) -> Duration {
        let jitter = self.jitter.as_nanos() as u64;
        self.interval + Duration::from_nanos(SmallRng::seed_from_u64(key).random_range(0..=jitter))
    }
}

/// Notes how late keys are, and tells when it has seen so many.
struct Lateness {
    stay: Stay,
    histogram: Arc<Mutex<Histogram<u64>>>,
    keys: u64,
    seen_all: Sender<()>,
}

impl BatchDataBuffer<u64, FirstInsert> for Lateness {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, FirstInsert>) -> Result<(), FlushError> {
        let now = Instant::now();
        let mut histogram = self.histogram.lock().expect("nobody panics");
        for entry in batch.entries().iter().filter(|entry| *entry.key() < BUSY) {
            let deadline = entry.data().0 + self.stay.of(*entry.key());
            let late = now.checked_duration_since(deadline).expect("a flush is never early");
            histogram.record(late.as_nanos() as u64).expect("it grows");
            if histogram.len().is_multiple_of(self.keys) {
                let _ = self.seen_all.send(());
            }
        }
        Ok(())
    }
}

/// A buffer whose sink measures.
struct Watched {
    buffer: Buffer<u64, FirstInsert>,
    histogram: Arc<Mutex<Histogram<u64>>>,
    seen_all: Receiver<()>,
}

impl Watched {
    fn start(stay: Stay, keys: u64) -> Self {
        let (sender, seen_all) = unbounded();
        let histogram = Arc::new(Mutex::new(histogram()));
        let sink = Lateness { stay, histogram: Arc::clone(&histogram), keys, seen_all: sender };
        let policy = move |key: &u64, _: &FirstInsert, _: Duration| stay.of(*key);
        let builder = builder().interval(stay.interval + stay.jitter).interval_policy(policy);
        let builder = builder.drop_timeout(Duration::ZERO);
        Watched { buffer: builder.start(sink).expect("valid settings"), histogram, seen_all }
    }

    fn insert(&self, key: u64) {
        self.buffer.insert(key, Instant::now()).expect("there is room");
    }

    fn wait(&self) {
        self.seen_all.recv_timeout(LIMIT).expect("all of them are flushed");
    }

    fn quantiles(self) -> Quantiles {
        assert_eq!(self.buffer.stats().panics, 0, "a flush was early");
        quantiles(&self.histogram.lock().expect("nobody panics"), NANOS_PER_MS)
    }
}

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "deadlines", "ms late", PEER);
    let cases = [("idle", false), ("while another thread inserts", true)];
    // Each takes more than ten seconds.
    let samples = take_turns(scale.turns.min(3), &cases, |(_, busy)| a_million(scale, *busy));
    for ((name, _), turns) in cases.into_iter().zip(samples) {
        quantiles::add(&mut recording, &["a million keys within 5 s", name], &[(PEER, turns)]);
    }
    for interval_ms in INTERVALS_MS {
        let turns = vec![one_by_one(Duration::from_millis(interval_ms), if scale.real { 200 } else { 2 })];
        quantiles::add(
            &mut recording,
            &["key by key", &format!("interval {interval_ms} ms")],
            &[(PEER, turns)],
        );
    }
    recording.save()
}

/// A million keys of 5 s and up to as much jitter.
fn a_million(scale: Scale, busy: bool) -> Quantiles {
    let stay = Duration::from_millis(if scale.real { 5_000 } else { 50 });
    let watched = Watched::start(Stay { interval: stay, jitter: stay }, scale.million as u64);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let inserter = busy.then(|| scope.spawn(|| insert_until(&watched, &over)));
        (0..scale.million as u64).for_each(|key| watched.insert(key));
        watched.wait();
        over.store(true, Ordering::Relaxed);
        if let Some(inserter) = inserter {
            let inserts = inserter.join().expect("it does not panic");
            assert!(inserts > scale.million as u64, "it hardly ran: {inserts}");
        }
    });
    watched.quantiles()
}

/// Inserts flat out into a thousand keys; says how often.
fn insert_until(watched: &Watched, over: &AtomicBool) -> u64 {
    let mut inserts = 0;
    // Relaxed: nothing else is handed over by it.
    while !over.load(Ordering::Relaxed) {
        watched.insert(BUSY + inserts % 1_000);
        inserts += 1;
    }
    inserts
}

/// The next key when the one before has been flushed, in a buffer that has nothing else to do.
fn one_by_one(interval: Duration, rounds: u64) -> Quantiles {
    let watched = Watched::start(Stay { interval, jitter: Duration::ZERO }, 1);
    for key in 0..rounds {
        watched.insert(key);
        watched.wait();
    }
    watched.quantiles()
}
