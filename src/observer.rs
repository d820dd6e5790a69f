//! What happens inside, told as it happens.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{BatchId, FlushReason};
use crate::failure::FailureCause;

/// One attempt to flush one batch.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FlushEvent<'a> {
    /// [`Builder::name`](crate::Builder::name).
    pub buffer: &'a str,
    /// The batch.
    pub batch: BatchId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Why its first entry was taken.
    pub reason: FlushReason,
    /// How many keys.
    pub keys: usize,
    /// How many inserts.
    pub inserts: u64,
}

/// Watches a buffer. Every method does nothing by default; implement those that you need.
///
/// Methods run on the thread where the thing happened (a worker, the scheduler, or the inserting
/// thread for [`shed`](Self::shed)), outside all locks. They should return quickly. A panic is
/// contained and counted in [`Stats::panics`](crate::Stats::panics).
pub trait Observer: Send + Sync + 'static {
    /// A callback is about to be called.
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        let _ = flush;
    }

    /// The callback acknowledged the whole batch after `took`.
    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        let _ = (flush, took);
    }

    /// The callback failed after `took`, for the whole batch or, as `keys` says, for that many of
    /// its keys; `cause` is the first of them.
    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, cause: &FailureCause, took: Duration) {
        let _ = (flush, keys, cause, took);
    }

    /// A batch will be sent again, `after` from now.
    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        let _ = (flush, after);
    }

    /// One key is handed to `handle_error`, which may forget, keep or requeue it: `inserts` of it, after
    /// `attempts`.
    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
        let _ = (buffer, inserts, attempts, cause);
    }

    /// A callback has been running for longer than `flush_timeout`, and still is. Told once per
    /// attempt.
    fn overdue(&self, buffer: &str, batch: BatchId, running: Duration) {
        let _ = (buffer, batch, running);
    }

    /// An item was turned away because memory is full.
    fn shed(&self, buffer: &str) {
        let _ = buffer;
    }

    /// Data stays undelivered: `handle_error` kept it or panicked on it, or the last handle was dropped
    /// and its patience ran out.
    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        let _ = (buffer, keys, inserts);
    }

    /// The buffer has gone to rest.
    fn hibernated(&self, buffer: &str) {
        let _ = buffer;
    }

    /// The buffer is awake again.
    fn woke(&self, buffer: &str) {
        let _ = buffer;
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        O::flush_started(self, flush);
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        O::flush_succeeded(self, flush, took);
    }

    fn flush_failed(&self, flush: &FlushEvent<'_>, keys: usize, cause: &FailureCause, took: Duration) {
        O::flush_failed(self, flush, keys, cause, took);
    }

    fn flush_retried(&self, flush: &FlushEvent<'_>, after: Duration) {
        O::flush_retried(self, flush, after);
    }

    fn gave_up(&self, buffer: &str, inserts: u64, attempts: u32, cause: &FailureCause) {
        O::gave_up(self, buffer, inserts, attempts, cause);
    }

    fn overdue(&self, buffer: &str, batch: BatchId, running: Duration) {
        O::overdue(self, buffer, batch, running);
    }

    fn shed(&self, buffer: &str) {
        O::shed(self, buffer);
    }

    fn undelivered(&self, buffer: &str, keys: usize, inserts: u64) {
        O::undelivered(self, buffer, keys, inserts);
    }

    fn hibernated(&self, buffer: &str) {
        O::hibernated(self, buffer);
    }

    fn woke(&self, buffer: &str) {
        O::woke(self, buffer);
    }
}
