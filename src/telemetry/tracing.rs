use std::time::Duration;

use tracing::{debug, info, trace, warn};

use crate::batch::BatchId;
use crate::error::InsertErrorKind;
use crate::failure::FailureCause;
use crate::journal::JournalError;
use crate::observer::{FlushEvent, Observer};

/// Emits a `tracing` event for everything that happens, under the target `write_behind`. Feature
/// `tracing`.
///
/// Flushes are `trace` when they start and `debug` when they succeed; failures, overdue callbacks,
/// shed items, lost patience and a journal that cannot be written are `warn`; going to rest, waking up and a journal that is
/// written again are `info`. Each event has
/// the fields `buffer`, and where they apply `batch`, `attempt`, `keys`, `inserts` and `error`.
///
/// ```
/// # use write_behind::{Buffer, Builder, TracingObserver};
/// # fn set_up(builder: Builder<String, Vec<u8>>) -> Builder<String, Vec<u8>> {
/// builder.observer(TracingObserver)
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        let FlushEvent { buffer, batch, attempt, reason, keys, inserts, .. } = flush;
        trace!(target: "write_behind", buffer, %batch, attempt, ?reason, keys, inserts, "flush started");
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        let FlushEvent { buffer, batch, attempt, reason, keys, inserts, .. } = flush;
        debug!(target: "write_behind", buffer, %batch, attempt, ?reason, keys, inserts, ?took, "flush succeeded");
    }

    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, cause: &FailureCause, took: Duration) {
        let FlushEvent { buffer, batch, attempt, .. } = flush;
        warn!(target: "write_behind", buffer, %batch, attempt, keys, ?took, error = %cause, "flush failed");
    }

    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        let FlushEvent { buffer, batch, attempt, keys, .. } = flush;
        debug!(target: "write_behind", buffer, %batch, attempt, keys, ?after, "flush will be tried again");
    }

    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
        warn!(target: "write_behind", buffer, inserts, attempts, error = %cause, "gave a key up");
    }

    fn overdue(&self, buffer: &str, batch: BatchId, running: Duration) {
        warn!(target: "write_behind", buffer, %batch, ?running, "a callback is overdue");
    }

    fn shed(&self, buffer: &str) {
        warn!(target: "write_behind", buffer, "shed an item: memory is full");
    }

    fn refused(&self, buffer: &str, inserts: u64, kind: InsertErrorKind) {
        warn!(target: "write_behind", buffer, inserts, reason = %kind, "refused inserts");
    }

    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        warn!(target: "write_behind", buffer, keys, inserts, "data stays undelivered");
    }

    fn journal_failed(&self, buffer: &str, error: &JournalError) {
        warn!(target: "write_behind", buffer, %error, "the journal could not be written");
    }

    fn journal_recovered(&self, buffer: &str) {
        info!(target: "write_behind", buffer, "the journal is written again");
    }

    fn hibernated(&self, buffer: &str) {
        info!(target: "write_behind", buffer, "hibernated");
    }

    fn woke(&self, buffer: &str) {
        info!(target: "write_behind", buffer, "woke");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::batch::FlushReason;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

    impl Visit for &Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let mut lines = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some((_, line)) = lines.last_mut() {
                line.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "write_behind"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((*event.metadata().level(), String::new()));
            event.record(&mut &*self);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn every_event_has_its_level_and_its_fields() {
        let lines = Lines::default();
        let flush = FlushEvent {
            buffer: "b",
            batch: BatchId { instance: 0xab, sequence: 7 },
            attempt: 2,
            reason: FlushReason::Deadline,
            keys: 3,
            inserts: 4,
            late: Duration::ZERO,
        };
        let failure = FailureCause::Misreported("no disk".into());
        tracing::subscriber::with_default(lines.clone(), || {
            let observer = TracingObserver;
            observer.flush_started(&flush);
            observer.flush_succeeded(&flush, Duration::from_millis(1));
            observer.flush_failed(&flush, 3, &failure, Duration::from_millis(1));
            observer.flush_retried(&flush, Duration::from_secs(1));
            observer.gave_up("b", 4, 2, &failure);
            observer.overdue("b", flush.batch, Duration::from_secs(30));
            observer.shed("b");
            observer.refused("b", 3, InsertErrorKind::Full);
            observer.undelivered("b", 1, 2);
            observer.journal_failed("b", &JournalError::InUse { path: "views.journal".into() });
            observer.journal_recovered("b");
            observer.hibernated("b");
            observer.woke("b");
        });
        let lines = lines.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let levels: Vec<_> = lines.iter().map(|(level, _)| level.as_str()).collect();
        let expected = "TRACE DEBUG WARN DEBUG WARN WARN WARN WARN WARN WARN INFO INFO INFO"
            .split(' ')
            .collect::<Vec<_>>();
        assert_eq!(levels, expected);
        assert!(lines[0].1.contains("batch=00000000000000ab-7 "), "{}", lines[0].1);
        assert!(lines[2].1.contains("no disk "), "{}", lines[2].1);
        assert!(lines.iter().all(|(_, line)| line.contains("buffer=\"b\" ")));
    }
}
