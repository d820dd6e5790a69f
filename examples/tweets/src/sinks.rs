//! Where the three buffers are flushed to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};
use write_behind::{
    AsyncBatchDataBuffer, AsyncDataBuffer, DeadLetter, FailureCause, FlushBatch, FlushContext, FlushError,
    FlushEvent, Observer, Sum, Verdict,
};

use crate::join::Joined;
use crate::progress::Progress;
use crate::store::Store;
use crate::tweet::TweetId;

/// Stores joined tweets. A batch is made when the writer is about to need it, of all tweets that are
/// complete by then; if they are few, the writer takes its time before it asks for more.
pub(crate) struct Writer {
    store: Arc<Store>,
    progress: Arc<Progress>,
    /// A batch of so many is written at once.
    full: usize,
    /// The turns at which the others are written.
    turns: tokio::sync::Mutex<Interval>,
}

impl Writer {
    pub(crate) fn new(store: &Arc<Store>, progress: &Arc<Progress>, full: usize, every: Duration) -> Self {
        let mut turns = tokio::time::interval(every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let turns = tokio::sync::Mutex::new(turns);
        Writer { store: Arc::clone(store), progress: Arc::clone(progress), full, turns }
    }
}

impl AsyncBatchDataBuffer<TweetId, Joined> for Writer {
    async fn handle_flush_batch(&self, batch: &FlushBatch<TweetId, Joined>) -> Result<(), FlushError> {
        if batch.len() < self.full {
            self.turns.lock().await.tick().await;
        }
        let (mut rows, mut incomplete) = (Vec::with_capacity(batch.len()), Vec::new());
        for entry in batch.entries() {
            match entry.data().row() {
                Some(row) => rows.push(row),
                None => incomplete.push(entry),
            }
        }
        let stored = rows.len() as u64;
        if stored > 0 {
            self.progress.begin_writing();
            let result = self.store.write(rows).await;
            self.progress.end_writing();
            let trouble = result.as_ref().err().map(ToString::to_string);
            self.progress.note_write(trouble.as_deref().map_or(Ok(()), Err));
            result?;
            self.progress.stored.add(stored);
            self.progress.batches.add(1);
        }
        let missing = || FlushError::not_applied("its results are not complete").give_up();
        FlushError::entries(incomplete.into_iter().map(|entry| entry.failed(missing())))
    }

    /// Retries never end, so only tweets arrive here whose deadline came before their last part. They
    /// go on waiting for it.
    async fn handle_error(&self, letter: DeadLetter<TweetId, Joined>) -> Verdict<TweetId, Joined> {
        Verdict::Requeue(letter)
    }
}

/// Notes how the writes of engagement went.
pub(crate) struct Noted(pub(crate) Arc<Progress>);

impl Observer for Noted {
    fn flush_succeeded(&self, _: &FlushEvent<'_>, _: Duration) {
        self.0.note_write(Ok(()));
    }

    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, cause: &FailureCause, _: Duration) {
        self.0.note_write(Err(&cause.to_string()));
    }
}

/// How often hashtags were used; brought up to date every few seconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hashtags {
    /// Guards the totals.
    totals: Arc<Mutex<HashMap<String, u64>>>,
}

impl Hashtags {
    /// The most frequent ones first.
    pub(crate) fn top(&self, how_many: usize) -> Vec<(String, u64)> {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut top: Vec<_> = totals.iter().map(|(hashtag, uses)| (hashtag.clone(), *uses)).collect();
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(how_many);
        top
    }
}

impl AsyncDataBuffer<String, Sum<u64>> for Hashtags {
    async fn handle_flush(
        &self,
        hashtag: &String,
        uses: &Sum<u64>,
        _: &FlushContext,
    ) -> Result<(), FlushError> {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        *totals.entry(hashtag.clone()).or_default() += uses.0;
        Ok(())
    }
}
