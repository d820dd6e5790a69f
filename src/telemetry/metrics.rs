#[cfg(test)]
mod tests;

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::batch::BatchId;
use crate::error::InsertErrorKind;
use crate::failure::FailureCause;
use crate::journal::JournalError;
use crate::observer::{FlushEvent, Observer};
use crate::stats::Stats;

/// Publishes counters, gauges and histograms through the `metrics` facade, with the label `buffer`.
/// Feature `metrics`.
///
/// | name | kind | unit |
/// |---|---|---|
/// | `write_behind_accepted_total`, `write_behind_shed_total` | counter | inserts |
/// | `write_behind_refused_total`, label `reason` | counter | inserts |
/// | `write_behind_flushed_inserts_total`, `write_behind_flushed_keys_total` | counter | inserts, keys |
/// | `write_behind_gave_up_inserts_total` | counter | inserts |
/// | `write_behind_flushes_total`, `write_behind_flush_failures_total` | counter | attempts |
/// | `write_behind_flush_retries_total`, `write_behind_overdue_total` | counter | attempts |
/// | `write_behind_pending`, `write_behind_in_flight`, `write_behind_undelivered` | gauge | inserts |
/// | `write_behind_spilled`, `write_behind_spilled_bytes` | gauge | inserts, bytes that are on disk only |
/// | `write_behind_keys`, `write_behind_max_keys` | gauge | keys |
/// | `write_behind_weight`, `write_behind_max_weight` | gauge | what aggregates weigh |
/// | `write_behind_oldest_pending_seconds` | gauge | seconds |
/// | `write_behind_degraded_seconds` | gauge | seconds, 0 if the last attempt was no failure |
/// | `write_behind_journal_commits_total`, `write_behind_journal_failures_total` | counter | commits, attempts |
/// | `write_behind_journal_failing_seconds` | gauge | seconds, 0 if the journal is written, or there is none |
/// | `write_behind_hibernating` | gauge | 1 at rest, 0 awake |
/// | `write_behind_flush_seconds` | histogram | seconds per attempt |
/// | `write_behind_lateness_seconds` | histogram | seconds from the deadline to the flush, per batch |
/// | `write_behind_batch_keys` | histogram | keys per attempt |
///
/// Gauges, `accepted` and `journal_commits` are published once a second while the buffer is awake
/// ([`every`](Self::every) changes that), and when it goes to rest.
///
/// ```
/// # use write_behind::{Buffer, Builder, MetricsObserver};
/// # fn set_up(builder: Builder<String, Vec<u8>>) -> Builder<String, Vec<u8>> {
/// builder.name("page-views").observer(MetricsObserver::new())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MetricsObserver {
    every: Duration,
}

impl Default for MetricsObserver {
    fn default() -> Self {
        MetricsObserver::new()
    }
}

impl MetricsObserver {
    /// Describes all metrics with their units to the recorder that is installed.
    #[must_use]
    pub fn new() -> Self {
        describe();
        MetricsObserver { every: Duration::from_secs(1) }
    }

    /// How often gauges are published while the buffer is awake. Default: 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::MetricsObserver;
    ///
    /// let observer = MetricsObserver::new().every(Duration::from_secs(15)); // as often as it is scraped
    /// # let _ = observer;
    /// ```
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }
}

fn describe() {
    for (name, text) in [
        ("write_behind_accepted_total", "Inserts taken in."),
        ("write_behind_shed_total", "Inserts turned away because memory was full."),
        ("write_behind_refused_total", "Inserts refused with an error, by reason."),
        ("write_behind_flushed_inserts_total", "Inserts that the sink has acknowledged."),
        ("write_behind_flushed_keys_total", "Keys that the sink has acknowledged."),
        ("write_behind_gave_up_inserts_total", "Inserts handed to handle_error."),
        ("write_behind_flushes_total", "Attempts to flush a batch."),
        ("write_behind_flush_failures_total", "Attempts that failed, wholly or for some keys."),
        ("write_behind_flush_retries_total", "Attempts that were scheduled again."),
        ("write_behind_overdue_total", "Attempts that ran longer than the flush timeout."),
        ("write_behind_journal_commits_total", "Commits of the journal."),
        ("write_behind_journal_failures_total", "Attempts to write the journal that failed."),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    for (name, text) in [
        ("write_behind_pending", "Inserts that wait for their flush."),
        ("write_behind_in_flight", "Inserts being flushed, waiting for a retry, or undelivered."),
        ("write_behind_undelivered", "Inserts kept after they were given up."),
        ("write_behind_spilled", "Inserts that are on disk only."),
        ("write_behind_keys", "Different keys that hold data."),
        ("write_behind_max_keys", "The bound on keys."),
        ("write_behind_weight", "What the data weighs."),
        ("write_behind_max_weight", "The bound on weight."),
        ("write_behind_hibernating", "1 at rest, 0 awake."),
    ] {
        describe_gauge!(name, Unit::Count, text);
    }
    describe_gauge!("write_behind_spilled_bytes", Unit::Bytes, "What is on disk only.");
    describe_gauge!(
        "write_behind_oldest_pending_seconds",
        Unit::Seconds,
        "The age of the oldest pending data."
    );
    describe_gauge!(
        "write_behind_degraded_seconds",
        Unit::Seconds,
        "For how long every attempt has failed wholly, 0 if not."
    );
    describe_gauge!(
        "write_behind_journal_failing_seconds",
        Unit::Seconds,
        "For how long the journal cannot be written, 0 if it can."
    );
    describe_histogram!("write_behind_flush_seconds", Unit::Seconds, "How long an attempt took.");
    describe_histogram!(
        "write_behind_lateness_seconds",
        Unit::Seconds,
        "How long after its deadline a batch was taken."
    );
    describe_histogram!("write_behind_batch_keys", Unit::Count, "Keys per attempt.");
}

/// Why an insert was refused, as a label.
fn reason(kind: InsertErrorKind) -> &'static str {
    match kind {
        InsertErrorKind::Closed => "closed",
        InsertErrorKind::Full => "full",
        InsertErrorKind::TimedOut => "timed_out",
        InsertErrorKind::TooHeavy => "too_heavy",
        InsertErrorKind::WouldDeadlock => "would_deadlock",
        InsertErrorKind::Forked => "forked",
        InsertErrorKind::JournalFailed => "journal_failed",
        #[cfg(feature = "tokio")]
        InsertErrorKind::WouldBlock => "would_block",
    }
}

impl Observer for MetricsObserver {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        let buffer = flush.buffer.to_owned();
        counter!("write_behind_flushes_total", "buffer" => buffer.clone()).increment(1);
        histogram!("write_behind_batch_keys", "buffer" => buffer.clone()).record(flush.keys as f64);
        if flush.attempt == 1 {
            histogram!("write_behind_lateness_seconds", "buffer" => buffer).record(flush.late.as_secs_f64());
        }
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

    fn refused(&self, buffer: &str, inserts: u64, kind: InsertErrorKind) {
        let labels = [("buffer", buffer.to_owned()), ("reason", reason(kind).to_owned())];
        counter!("write_behind_refused_total", &labels).increment(inserts);
    }

    fn measure_every(&self) -> Option<Duration> {
        Some(self.every)
    }

    fn measured(&self, buffer: &str, stats: &Stats) {
        counter!("write_behind_accepted_total", "buffer" => buffer.to_owned()).absolute(stats.accepted);
        for (name, value) in [
            ("write_behind_pending", stats.pending),
            ("write_behind_in_flight", stats.in_flight),
            ("write_behind_undelivered", stats.undelivered),
            ("write_behind_spilled", stats.spilled),
            ("write_behind_spilled_bytes", stats.spilled_bytes),
            ("write_behind_keys", stats.keys),
            ("write_behind_max_keys", stats.max_keys),
            ("write_behind_weight", stats.weight),
            ("write_behind_max_weight", stats.max_weight),
        ] {
            gauge!(name, "buffer" => buffer.to_owned()).set(value as f64);
        }
        let age = stats.oldest_pending.as_secs_f64();
        gauge!("write_behind_oldest_pending_seconds", "buffer" => buffer.to_owned()).set(age);
        let degraded = stats.degraded_for.unwrap_or_default().as_secs_f64();
        gauge!("write_behind_degraded_seconds", "buffer" => buffer.to_owned()).set(degraded);
        counter!("write_behind_journal_commits_total", "buffer" => buffer.to_owned())
            .absolute(stats.journal_commits);
        let failing = stats.journal_failing_for.unwrap_or_default().as_secs_f64();
        gauge!("write_behind_journal_failing_seconds", "buffer" => buffer.to_owned()).set(failing);
    }

    fn journal_failed(&self, buffer: &str, _error: &JournalError) {
        counter!("write_behind_journal_failures_total", "buffer" => buffer.to_owned()).increment(1);
    }

    fn hibernated(&self, buffer: &str) {
        gauge!("write_behind_hibernating", "buffer" => buffer.to_owned()).set(1.0);
    }

    fn woke(&self, buffer: &str) {
        gauge!("write_behind_hibernating", "buffer" => buffer.to_owned()).set(0.0);
    }
}
