//! The page at `/`, which shows what the buffer does, and `/status`, which the page asks once a second.

mod history;
mod page;
mod top_keys;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::Json;
use axum::routing::get;
use serde_json::{Value, json};
use write_behind::{
    AsyncBatchDataBuffer, DeadLetter, FailureCause, FlushBatch, FlushError, FlushEvent, Observer, Retirement,
    Stats, Sum, Verdict,
};

use crate::http::{self, Service};
use history::History;
use top_keys::TopKeys;

/// How many keys the page lists.
const LISTED: usize = 10;

pub(crate) fn routes() -> Router<Service> {
    Router::new().route("/", get(page::page)).route("/status", get(status))
}

/// What has been seen of the buffer, in bounded space.
pub(crate) struct Dashboard {
    started: Instant,
    /// Guards the last two minutes. Taken for each attempt and each answer.
    history: Mutex<History>,
    /// Guards the keys with the most increments. Taken for each batch that is written.
    top: Mutex<TopKeys>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Dashboard { started: Instant::now(), history: Mutex::default(), top: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Dashboard {
    fn flush_started(&self, flush: &FlushEvent<'_>) {
        if flush.attempt == 1 {
            lock(&self.history).late(flush.late);
        }
    }

    fn flush_succeeded(&self, flush: &FlushEvent<'_>, took: Duration) {
        lock(&self.history).wrote(flush.keys as u64, took);
    }

    fn flush_failed(&self, _: &FlushEvent<'_>, _: usize, _: &FailureCause, took: Duration) {
        lock(&self.history).wrote(0, took);
    }

    fn measure_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn measured(&self, _: &str, stats: &Stats) {
        lock(&self.history).record(self.started.elapsed(), stats);
    }
}

/// A sink whose keys are counted when they are written.
pub(crate) struct Watched<S> {
    pub(crate) sink: S,
    pub(crate) dashboard: Arc<Dashboard>,
}

impl<S: AsyncBatchDataBuffer<String, Sum<i64>>> AsyncBatchDataBuffer<String, Sum<i64>> for Watched<S> {
    async fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
        self.sink.handle_flush_batch(batch).await?;
        lock(&self.dashboard.top)
            .add(batch.entries().iter().map(|entry| (entry.key().as_str(), entry.count())));
        Ok(())
    }

    async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        self.sink.handle_error(letter).await
    }

    fn handle_shed(&self, key: String, data: Sum<i64>) {
        self.sink.handle_shed(key, data);
    }

    async fn handle_retired(&self, retirement: &Retirement) {
        self.sink.handle_retired(retirement).await;
    }
}

async fn status(State(service): State<Service>) -> Json<Value> {
    let Service { interval, buffer, backend, dashboard, .. } = &service;
    let health = buffer.health();
    let stats = &health.stats;
    let now = dashboard.started.elapsed();
    let top = lock(&dashboard.top).first(LISTED);
    let keys: Vec<_> = top
        .keys
        .into_iter()
        .map(|(key, written)| {
            let waiting = buffer.count(key.as_str()).total();
            json!({ "key": key, "written": written, "waiting": waiting })
        })
        .collect();
    let (rows, samples) = {
        let mut history = lock(&dashboard.history);
        history.record(now, stats);
        (history.rows(), history.samples().clone())
    };
    let mut status = http::report(&service, stats);
    status["interval_ms"] = millis(*interval).into();
    status["up_ms"] = millis(now).into();
    status["rows"] = rows.into();
    status["oldest_ms"] = millis(stats.oldest_pending).into();
    status["max_keys"] = stats.max_keys.into();
    status["fullness"] = health.fullness().into();
    status["degraded_ms"] = json!(health.degraded_for.map(millis));
    status["trouble"] = json!(backend.trouble());
    status["last_failure"] = json!(
        health.last_failure.map(|(cause, ago)| json!({ "error": cause.to_string(), "ago_ms": millis(ago) }))
    );
    status["history"] = json!(samples);
    status["top"] = json!({ "keys": keys, "uncertain": top.uncertain });
    Json(status)
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
