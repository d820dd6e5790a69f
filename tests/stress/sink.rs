use std::collections::BTreeSet;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use write_behind::{
    Aggregate, AsyncBatchDataBuffer, BatchDataBuffer, BatchId, DeadLetter, FlushBatch, FlushError, Verdict,
};

/// How many callbacks there may be at once.
pub(crate) const CALLBACKS: usize = 3;

/// What came out, by key and in the order in which it came.
#[derive(Debug)]
pub(crate) struct Out<V> {
    pub(crate) applied: Vec<(u64, V)>,
    pub(crate) given_up: Vec<(u64, V)>,
    /// The batches that have been applied, with the keys for which they were.
    pub(crate) ids: BTreeSet<(BatchId, u64)>,
    /// How often a callback began that had to wait for another.
    pub(crate) overlaps: usize,
}

type Answer = Result<(), FlushError>;

/// Fails in every way, and applies a batch once however often it is sent.
pub(crate) struct Flaky<V> {
    attempts: AtomicU64,
    /// Some of what is given up is kept, and comes out of order if it is offered again.
    keeps: bool,
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
    pub(crate) fn new(keeps: bool) -> (Self, Arc<Mutex<Out<V>>>) {
        let out = Out { applied: Vec::new(), given_up: Vec::new(), ids: BTreeSet::new(), overlaps: 0 };
        let out = Arc::new(Mutex::new(out));
        let (attempts, at_work) = (AtomicU64::new(0), Mutex::default());
        (Flaky { attempts, keeps, at_work, out: Arc::clone(&out) }, out)
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
        if batch.entries().iter().any(|entry| out.ids.contains(&(batch.id(), *entry.key()))) {
            return false;
        }
        let entries = batch.entries()[skipped..].iter();
        out.ids.extend(entries.clone().map(|entry| (batch.id(), *entry.key())));
        out.applied.extend(entries.map(|entry| (*entry.key(), entry.data().clone())));
        true
    }

    fn next_turn(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    fn answer(&self, turn: u64, batch: &FlushBatch<u64, V>) -> Answer {
        match turn % 13 {
            1 => Err(FlushError::unknown("lost before")),
            3 => {
                self.apply(batch, 0);
                Err(FlushError::unknown("lost after"))
            }
            5 => Err(FlushError::not_applied("refused")),
            7 if self.apply(batch, 1) => {
                FlushError::entries([batch.entries()[0].failed(FlushError::not_applied("this key"))])
            }
            9 => resume_unwind(Box::new("the sink panics")),
            11 => Err(FlushError::unknown("hopeless").give_up()),
            _ => {
                self.apply(batch, 0);
                Ok(())
            }
        }
    }

    /// All keys of a batch share its fate: what may have been applied goes out again whole or not at all.
    /// Neither who puts it back nor who keeps it looks whether it was applied.
    fn give_up(&self, letter: DeadLetter<u64, V>) -> Verdict<u64, V> {
        let mut out = self.out.lock();
        match letter.batch().sequence % 4 {
            0 | 1 => Verdict::Requeue(letter),
            2 if self.keeps => Verdict::Keep(letter),
            _ => {
                if !out.ids.contains(&(letter.batch(), *letter.key())) {
                    out.given_up.push(letter.into_parts());
                }
                Verdict::Forget
            }
        }
    }
}

impl<V: Aggregate + Clone> BatchDataBuffer<u64, V> for Flaky<V> {
    fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        self.answer(self.next_turn(), batch)
    }

    fn handle_error(&self, letter: DeadLetter<u64, V>) -> Verdict<u64, V> {
        let _working = self.begin(vec![*letter.key()]);
        self.give_up(letter)
    }
}

/// Takes its time, and now and then for ever.
async fn dawdle(turn: u64) {
    match turn % 11 {
        0..3 => {}
        3..6 => tokio::task::yield_now().await,
        6..10 => tokio::time::sleep(Duration::from_micros(turn % 7 * 300)).await,
        _ => pending().await,
    }
}

impl<V: Aggregate + Clone> AsyncBatchDataBuffer<u64, V> for Flaky<V> {
    async fn handle_flush_batch(&self, batch: &FlushBatch<u64, V>) -> Answer {
        let _working = self.begin_batch(batch);
        let turn = self.next_turn();
        dawdle(turn).await;
        let answer = self.answer(turn, batch);
        if answer.is_ok() {
            // It is applied, and may yet be cancelled.
            dawdle(turn / 11).await;
        }
        answer
    }

    async fn handle_error(&self, letter: DeadLetter<u64, V>) -> Verdict<u64, V> {
        let _working = self.begin(vec![*letter.key()]);
        tokio::task::yield_now().await;
        self.give_up(letter)
    }
}
