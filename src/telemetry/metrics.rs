use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::batch::BatchId;
use crate::failure::FailureCause;
use crate::observer::{FlushEvent, Observer};

/// Publishes counters and histograms through the `metrics` facade, with the label `buffer`.
/// Feature `metrics`.
///
/// | name | kind | unit |
/// |---|---|---|
/// | `write_behind_flushes_total` | counter | attempts |
/// | `write_behind_flushed_inserts_total`, `write_behind_flushed_keys_total` | counter | inserts, keys |
/// | `write_behind_flush_failures_total` | counter | attempts |
/// | `write_behind_flush_retries_total` | counter | attempts |
/// | `write_behind_flush_seconds` | histogram | seconds per attempt |
/// | `write_behind_batch_keys` | histogram | keys per attempt |
/// | `write_behind_gave_up_inserts_total` | counter | inserts |
/// | `write_behind_overdue_total` | counter | attempts |
/// | `write_behind_shed_total` | counter | inserts |
/// | `write_behind_undelivered_inserts_total` | counter | inserts |
/// | `write_behind_hibernating` | gauge | 1 at rest, 0 awake |
///
/// What is pending is in [`Buffer::stats`](crate::Buffer::stats), to be read when the metrics are.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsObserver;

impl Observer for MetricsObserver {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        counter!("write_behind_flushes_total", "buffer" => flush.buffer.to_owned()).increment(1);
        histogram!("write_behind_batch_keys", "buffer" => flush.buffer.to_owned()).record(flush.keys as f64);
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        let buffer = flush.buffer.to_owned();
        counter!("write_behind_flushed_inserts_total", "buffer" => buffer.clone()).increment(flush.inserts);
        counter!("write_behind_flushed_keys_total", "buffer" => buffer.clone()).increment(flush.keys as u64);
        histogram!("write_behind_flush_seconds", "buffer" => buffer).record(took.as_secs_f64());
    }

    fn flush_failed(&self, flush: &FlushEvent<'_>, _keys: usize, _cause: &FailureCause, took: Duration) {
        let buffer = flush.buffer.to_owned();
        counter!("write_behind_flush_failures_total", "buffer" => buffer.clone()).increment(1);
        histogram!("write_behind_flush_seconds", "buffer" => buffer).record(took.as_secs_f64());
    }

    fn flush_retried(&self, flush: &FlushEvent<'_>, _after: Duration) {
        counter!("write_behind_flush_retries_total", "buffer" => flush.buffer.to_owned()).increment(1);
    }

    fn gave_up(&self, buffer: &str, inserts: u64, _attempts: u32, _cause: &FailureCause) {
        counter!("write_behind_gave_up_inserts_total", "buffer" => buffer.to_owned()).increment(inserts);
    }

    fn overdue(&self, buffer: &str, _batch: BatchId, _running: Duration) {
        counter!("write_behind_overdue_total", "buffer" => buffer.to_owned()).increment(1);
    }

    fn shed(&self, buffer: &str) {
        counter!("write_behind_shed_total", "buffer" => buffer.to_owned()).increment(1);
    }

    fn undelivered(&self, buffer: &str, _keys: usize, inserts: u64) {
        counter!("write_behind_undelivered_inserts_total", "buffer" => buffer.to_owned()).increment(inserts);
    }

    fn hibernated(&self, buffer: &str) {
        gauge!("write_behind_hibernating", "buffer" => buffer.to_owned()).set(1.0);
    }

    fn woke(&self, buffer: &str) {
        gauge!("write_behind_hibernating", "buffer" => buffer.to_owned()).set(0.0);
    }
}
