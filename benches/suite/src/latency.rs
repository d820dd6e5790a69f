//! How long one insert takes while a million keys are being flushed. Each insert is timed, so that the
//! rare ones are seen; what that costs is shown by timing nothing.

use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::appointment::Appointment;
use crate::keys::Spread;
use crate::peers::{HandWritten, Inserter, Peer, WriteBehind};
use crate::quantiles::{self, Quantiles, histogram, quantiles};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::take_turns;

const BATCH: usize = 1_000;

/// Which inserts count: those during the flush.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    During,
    After,
}

type Measure = fn(Scale, &[u64]) -> Histogram<u64>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "latency", "ns", "no flush");
    let keys: Vec<u64> = Spread::Uniform(scale.million).draw(scale.million, 0);
    let contestants: [(&'static str, Measure); 5] = [
        ("timing nothing", nothing),
        ("no flush", at_rest),
        ("while flushing a million keys", while_flushing_others),
        ("while flushing the same keys", while_flushing_these),
        ("hand-written, swap and drain", hand_written),
    ];
    let samples = take_turns(scale.turns, &contestants, |(name, measure)| {
        let histogram = measure(scale, &keys);
        // A flush of a thousand keys may find the inserting thread off its processor.
        let enough = scale.million as u64 / 100;
        assert!(!scale.real || histogram.len() >= enough, "{name}: {} inserts in time", histogram.len());
        quantiles(&histogram, 1.0)
    });
    let peers: Vec<(&'static str, Vec<Quantiles>)> =
        contestants.iter().map(|(name, _)| *name).zip(samples).collect();
    quantiles::add(&mut recording, &["u64", "uniform million"], &peers);
    recording.save()
}

fn nothing(_scale: Scale, keys: &[u64]) -> Histogram<u64> {
    time_once(keys, Box::new(|_, _| ()))
}

/// As many keys as while others are flushed.
fn at_rest(scale: Scale, keys: &[u64]) -> Histogram<u64> {
    let peer = WriteBehind::<u64, i64>::new();
    let mut insert = peer.inserter(0);
    (0..2 * scale.million as u64).for_each(|key| insert(&key, 1));
    time_once(keys, insert)
}

/// A million keys take inserts, another million is due.
fn while_flushing_others(scale: Scale, keys: &[u64]) -> Histogram<u64> {
    let million = scale.million as u64;
    while_flushing(scale, keys, million..2 * million, 0..million)
}

/// A million keys are due and take inserts: those that have left begin anew.
fn while_flushing_these(scale: Scale, keys: &[u64]) -> Histogram<u64> {
    while_flushing(scale, keys, 0..scale.million as u64, 0..0)
}

fn while_flushing(scale: Scale, keys: &[u64], due: Range<u64>, staying: Range<u64>) -> Histogram<u64> {
    const LEAD: Duration = Duration::from_millis(20);
    let appointment = Appointment::make(scale, BATCH, &due, &staying);
    let soon = appointment.at.saturating_duration_since(Instant::now()).saturating_sub(LEAD);
    thread::sleep(soon);
    let insert = |key: &u64, item| appointment.buffer.add(key, item).expect("there is room");
    let histogram = time(keys, Box::new(insert), |start| {
        if start < appointment.at {
            Stage::Before
        } else if appointment.is_over() {
            Stage::After
        } else {
            Stage::During
        }
    });
    let flushed = appointment.buffer.stats().flushed;
    assert!(flushed >= (scale.million - BATCH) as u64, "the last batch may not be settled: {flushed}");
    histogram
}

/// A thread takes all tables out and hands their entries on while another one inserts.
fn hand_written(scale: Scale, keys: &[u64]) -> Histogram<u64> {
    let peer = HandWritten::<u64, i64>::new();
    let mut insert = peer.inserter(0);
    (0..scale.million as u64).for_each(|key| insert(&key, 1));
    let stages = [Stage::Before, Stage::During, Stage::After];
    let stage = AtomicU8::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            // Relaxed: what the inserts find is guarded by the tables' locks.
            stage.store(1, Ordering::Relaxed);
            peer.drain(BATCH, |entries| _ = black_box(entries));
            stage.store(2, Ordering::Relaxed);
        });
        time(keys, insert, |_| stages[usize::from(stage.load(Ordering::Relaxed))])
    })
}

/// Inserts each key once.
fn time_once(keys: &[u64], insert: Inserter<'_, u64, i64>) -> Histogram<u64> {
    let mut left = keys.len();
    time(keys, insert, |_| {
        left = left.wrapping_sub(1);
        if left == usize::MAX { Stage::After } else { Stage::During }
    })
}

/// Inserts and times until `stage`, asked after each insert when it had begun, says that it is over.
fn time(
    keys: &[u64],
    mut insert: Inserter<'_, u64, i64>,
    mut stage: impl FnMut(Instant) -> Stage,
) -> Histogram<u64> {
    let mut histogram = histogram();
    for key in keys.iter().cycle() {
        let start = Instant::now();
        insert(black_box(key), 1);
        let took = start.elapsed();
        match stage(start) {
            Stage::Before => {}
            Stage::During => histogram.record(took.as_nanos() as u64).expect("it grows"),
            Stage::After => break,
        }
    }
    histogram
}
