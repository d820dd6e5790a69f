//! How fast keys leave, with a sink that does nothing and one worker: a million that are due at once,
//! and a million that come in and go out.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use batch_aint_one::{Batcher, BatchingPolicy, Limits, Processor};

use crate::appointment::Appointment;
use crate::peers::{HandWritten, Peer, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const BATCH: usize = 1_000;

/// Nanoseconds per key.
type Measure = Box<dyn Fn() -> f64>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "flush", "ns per key", "write-behind");
    // Single ones take long, so they are fewer.
    let few = scale.million / 10;
    let cases =
        [("a million due at once", BATCH, scale.million), ("a tenth of a million due at once", 1, few)];
    for (name, batch, keys) in cases {
        let contestants: [(&str, Measure); 2] = [
            ("write-behind", Box::new(move || due_at_once(scale, batch, keys))),
            ("hand-written", Box::new(move || drain(batch, keys))),
        ];
        compare(scale, &mut recording, &[name, &format!("batches of {batch}")], &contestants);
    }
    let contestants: [(&str, Measure); 3] = [
        ("write-behind", Box::new(move || in_and_out(scale))),
        ("batch-aint-one", Box::new(move || batch_aint_one(scale))),
        ("hand-written", Box::new(move || fill_and_drain(scale))),
    ];
    compare(scale, &mut recording, &["a million in and out", &format!("batches of {BATCH}")], &contestants);
    recording.save()
}

fn compare(scale: Scale, recording: &mut Recording, case: &[&str], contestants: &[(&'static str, Measure)]) {
    let samples = take_turns(scale.turns, contestants, |(_, measure)| measure());
    recording.add(case, contestants.iter().map(|(name, _)| *name).zip(samples).collect());
}

/// From the deadline until the last key is settled.
fn due_at_once(scale: Scale, batch: usize, keys: usize) -> f64 {
    let appointment = Appointment::make(scale, batch, &(0..keys as u64), &(0..0));
    thread::sleep(appointment.at.saturating_duration_since(Instant::now()));
    while !appointment.is_over() {
        // Seldom enough not to take a processor away, and often enough not to be seen in the result.
        thread::sleep(Duration::from_micros(100));
    }
    while appointment.buffer.stats().keys > 0 {
        thread::yield_now();
    }
    let nanos = nanos_per_key(appointment.at, keys);
    let stats = appointment.buffer.stats();
    assert_eq!(stats.flushed, keys as u64);
    assert!(stats.flushes >= stats.flushed.div_ceil(batch as u64), "no batch is larger");
    nanos
}

fn drain(batch: usize, keys: usize) -> f64 {
    let tables = filled(keys);
    let start = Instant::now();
    tables.drain(batch, |entries| _ = black_box(entries));
    nanos_per_key(start, keys)
}

fn filled(keys: usize) -> HandWritten<u64, i64> {
    let tables = HandWritten::new();
    let mut insert = tables.inserter(0);
    (0..keys as u64).for_each(|key| insert(&key, 1));
    drop(insert);
    tables
}

/// One thread inserts a million keys and then has them flushed.
fn in_and_out(scale: Scale) -> f64 {
    let peer = WriteBehind::<u64, i64>::with(|builder| builder.flush_concurrency(1).max_batch_keys(BATCH));
    let start = Instant::now();
    let mut insert = peer.inserter(0);
    (0..scale.million as u64).for_each(|key| insert(&key, 1));
    peer.0.flush_all();
    while peer.0.stats().keys > 0 {
        thread::sleep(Duration::from_micros(100));
    }
    nanos_per_key(start, scale.million)
}

fn fill_and_drain(scale: Scale) -> f64 {
    let start = Instant::now();
    filled(scale.million).drain(BATCH, |entries| _ = black_box(entries));
    nanos_per_key(start, scale.million)
}

/// Answers each item with nothing.
#[derive(Clone)]
struct Nothing;

impl Processor for Nothing {
    type Key = ();
    type Input = (u64, i64);
    type Output = ();
    type Error = String;
    type Resources = ();

    async fn acquire_resources(&self, _key: ()) -> Result<(), String> {
        Ok(())
    }

    async fn process(
        &self,
        _key: (),
        items: impl Iterator<Item = (u64, i64)> + Send,
        _resources: (),
    ) -> Result<Vec<()>, String> {
        Ok(items.map(|item| _ = black_box(item)).collect())
    }
}

/// Its callers wait until their item has been processed, so that there must be many at once: four
/// batches' worth. They share the work, for it waits until a batch is full: callers with a fixed share
/// each would end one by one, and the last ones would be too few to fill any.
fn batch_aint_one(scale: Scale) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime starts").block_on(async {
        let limits = Limits::builder().max_batch_size(BATCH).max_key_concurrency(1);
        let limits = limits.max_key_queued_items(scale.million).build();
        let batcher = Batcher::builder().name("suite").processor(Nothing).limits(limits);
        let batcher = Arc::new(batcher.batching_policy(BatchingPolicy::Size).build());
        let (next, keys) = (Arc::new(AtomicU64::new(0)), scale.million as u64);
        let start = Instant::now();
        let caller = |_| {
            let (batcher, next) = (Arc::clone(&batcher), Arc::clone(&next));
            tokio::spawn(async move {
                // Relaxed: each number goes to one of them, and that is all.
                while let Some(key) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|key| *key < keys) {
                    batcher.add((), (key, 1)).await.expect("nothing fails");
                }
            })
        };
        let callers: Vec<_> = (0..4 * BATCH).map(caller).collect();
        for caller in callers {
            caller.await.expect("nothing panics");
        }
        nanos_per_key(start, scale.million)
    })
}

fn nanos_per_key(start: Instant, keys: usize) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / keys as f64
}
