use std::collections::BTreeSet;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use write_behind::{
    Aggregate, AsyncDataBuffer, BatchId, DataBuffer, FailedFlush, FlushBatch, FlushError, KeyFailure,
    Outcome, Verdict,
};

/// How many callbacks there may be at once.
pub(crate) const CALLBACKS: usize = 3;

/// What came out, by key and in the order in which it came.
#[derive(Debug)]
pub(crate) struct Out<V> {
    pub(crate) applied: Vec<(u64, V)>,
    pub(crate) given_up: Vec<(u64, V)>,
    ids: BTreeSet<BatchId>,
    /// How often a callback began that had to wait for another.
    pub(crate) overlaps: usize,
}

type Answer = Result<(), FlushError<&'static str>>;

/// Fails in every way, and applies a batch once however often it is sent.
pub(crate) struct Flaky<V> {
    attempts: AtomicU64,
    /// Keys that callbacks are at work on, by callback.
    at_work: Mutex<Vec<Vec<u64>>>,
    out: Arc<Mutex<Out<V>>>,
}

/// A callback at work.
struct Working<'a>(&'a Mutex<Vec<Vec<u64>>>, Vec<u64>);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|keys| *keys != self.1);
    }
}

impl<V: Clone> Flaky<V> {
    pub(crate) fn new() -> (Self, Arc<Mutex<Out<V>>>) {
        let out = Out { applied: Vec::new(), given_up: Vec::new(), ids: BTreeSet::new(), overlaps: 0 };
        let out = Arc::new(Mutex::new(out));
        (Flaky { attempts: AtomicU64::new(0), at_work: Mutex::default(), out: Arc::clone(&out) }, out)
    }

    /// A key is in one callback at a time, and there are no more callbacks than there may be. One that
    /// has been cancelled is over when its future has been dropped.
    fn begin(&self, keys: Vec<u64>) -> Working<'_> {
        let mut at_work = self.at_work.lock();
        let twice = at_work.iter().flatten().any(|key| keys.contains(key));
        self.out.lock().overlaps += usize::from(twice || at_work.len() >= CALLBACKS);
        at_work.push(keys.clone());
        Working(&self.at_work, keys)
    }

    fn begin_batch(&self, batch: &FlushBatch<u64, V>) -> Working<'_> {
        self.begin(batch.entries().iter().map(|entry| *entry.key()).collect())
    }

    /// Applies all but the first `skipped` entries, unless the batch has been applied before.
    fn apply(&self, batch: &FlushBatch<u64, V>, skipped: usize) -> bool {
        let mut out = self.out.lock();
        if out.ids.contains(&batch.id()) {
            return false;
        }
        if skipped == 0 {
            out.ids.insert(batch.id());
        }
        let entries = batch.entries()[skipped..].iter();
        out.applied.extend(entries.map(|entry| (*entry.key(), entry.data().clone())));
        true
    }

    fn next_turn(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    fn answer(&self, turn: u64, batch: &FlushBatch<u64, V>) -> Answer {
        match turn % 11 {
            1 => Err(FlushError::unknown("lost before")),
            3 => {
                self.apply(batch, 0);
                Err(FlushError::unknown("lost after"))
            }
            5 => Err(FlushError::not_applied("refused")),
            7 if self.apply(batch, 1) => {
                Err(FlushError::keys([KeyFailure::new(0, Outcome::NotApplied, "this key")]))
            }
            9 => resume_unwind(Box::new("the sink panics")),
            _ => {
                self.apply(batch, 0);
                Ok(())
            }
        }
    }

    fn give_up(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let mut out = self.out.lock();
        if out.ids.contains(&failed.batch()) {
            return Verdict::Done;
        }
        if failed.count() % 2 == 0 {
            return Verdict::Requeue(failed.into_data());
        }
        out.given_up.push(failed.into_parts());
        Verdict::Done
    }
}

const BATCHES: &str = "only batches are flushed";

impl<V: Aggregate + Clone> DataBuffer<u64, V> for Flaky<V> {
    type Error = &'static str;

    fn handle_flush(&self, _: &u64, _: &V) -> Result<(), &'static str> {
        Err(BATCHES)
    }

    fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        self.answer(self.next_turn(), batch)
    }

    fn handle_error(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let _working = self.begin(vec![*failed.key()]);
        self.give_up(failed)
    }
}

/// Takes its time, and now and then for ever.
async fn dawdle(turn: u64) {
    match turn % 13 {
        0..4 => {}
        4..8 => tokio::task::yield_now().await,
        8..12 => tokio::time::sleep(Duration::from_micros(turn % 7 * 300)).await,
        _ => pending().await,
    }
}

impl<V: Aggregate + Clone> AsyncDataBuffer<u64, V> for Flaky<V> {
    type Error = &'static str;

    async fn handle_flush(&self, _: &u64, _: &V) -> Result<(), &'static str> {
        Err(BATCHES)
    }

    async fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        let turn = self.next_turn();
        dawdle(turn).await;
        let answer = self.answer(turn, batch);
        if answer.is_ok() {
            // It is applied, and may yet be cancelled.
            dawdle(turn / 13).await;
        }
        answer
    }

    async fn handle_error(&self, failed: FailedFlush<u64, V>) -> Verdict<V> {
        let _working = self.begin(vec![*failed.key()]);
        tokio::task::yield_now().await;
        self.give_up(failed)
    }
}
