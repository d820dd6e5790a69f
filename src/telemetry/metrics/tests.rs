//! What is published, read back by a recorder that keeps everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use super::*;
use crate::batch::FlushReason;

#[derive(Default)]
struct Kept {
    described: Mutex<BTreeMap<String, Unit>>,
    numbers: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    samples: Mutex<BTreeMap<String, Arc<Samples>>>,
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        lock(&self.0).push(value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        lock(&self.described).extend(unit.map(|unit| (name.as_str().to_owned(), unit)));
    }

    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        assert!(lock(&self.described).contains_key(key.name()), "{} has no unit", key.name());
        assert!(key.labels().any(|label| (label.key(), label.value()) == ("buffer", "b")));
        Arc::clone(lock(&self.numbers).entry(key.name().to_owned()).or_default())
    }

    fn counter(&self, name: &str) -> u64 {
        lock(&self.numbers).get(name).map_or(0, |number| number.load(Ordering::Relaxed))
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.counter(name))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        assert!(lock(&self.described).contains_key(key.name()), "{} has no unit", key.name());
        Histogram::from_arc(Arc::clone(lock(&self.samples).entry(key.name().to_owned()).or_default()))
    }
}

#[test]
fn everything_is_described_and_published() {
    let kept = Kept::default();
    let flush = FlushEvent {
        buffer: "b",
        batch: BatchId { instance: 1, sequence: 2 },
        attempt: 1,
        reason: FlushReason::Deadline,
        keys: 3,
        inserts: 4,
        late: Duration::from_millis(250),
    };
    let stats = Stats {
        accepted: 100,
        pending: 7,
        undelivered: 1,
        max_keys: 50,
        oldest_pending: Duration::from_millis(1_500),
        degraded_for: Some(Duration::from_secs(3)),
        journal_commits: 9,
        journal_failing_for: Some(Duration::from_secs(2)),
        ..Stats::default()
    };
    let cause = FailureCause::Misreported("no".into());
    with_local_recorder(&kept, || {
        let observer = MetricsObserver::new().every(Duration::from_secs(2));
        assert_eq!(observer.measure_every(), Some(Duration::from_secs(2)));
        observer.flush_started(&flush);
        observer.flush_succeeded(&flush, Duration::from_millis(5));
        observer.flush_failed(&flush, 3, &cause, Duration::from_millis(5));
        observer.flush_retried(&flush, Duration::from_secs(1));
        observer.gave_up("b", 4, 2, &cause);
        observer.overdue("b", flush.batch, Duration::from_secs(30));
        observer.shed("b");
        observer.refused("b", 3, InsertErrorKind::Full);
        observer.measured("b", &stats);
        observer.journal_failed("b", &JournalError::InUse { path: "views.journal".into() });
        observer.hibernated("b");
    });
    let counted =
        ["flushes", "flushed_inserts", "flushed_keys", "flush_failures", "flush_retries", "overdue"];
    let counts = counted.map(|name| kept.counter(&format!("write_behind_{name}_total")));
    assert_eq!(counts, [1, 4, 3, 1, 1, 1]);
    let counted = ["gave_up_inserts", "shed", "refused", "accepted", "journal_failures", "journal_commits"];
    let counts = counted.map(|name| kept.counter(&format!("write_behind_{name}_total")));
    assert_eq!(counts, [4, 1, 3, 100, 1, 9]);
    assert_eq!(kept.gauge("write_behind_journal_failing_seconds"), 2.0);
    let gauges =
        ["pending", "undelivered", "max_keys", "oldest_pending_seconds", "degraded_seconds", "hibernating"];
    assert_eq!(
        gauges.map(|name| kept.gauge(&format!("write_behind_{name}"))),
        [7.0, 1.0, 50.0, 1.5, 3.0, 1.0]
    );
    let samples = lock(&kept.samples);
    assert_eq!(*lock(&samples["write_behind_lateness_seconds"].0), [0.25]);
    assert_eq!(lock(&samples["write_behind_flush_seconds"].0).len(), 2);
}
