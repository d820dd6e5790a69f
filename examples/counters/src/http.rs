//! The HTTP side: routes, answers and errors.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use write_behind::exactly_once::{StoreErrorKind, read_exactly_async};
use write_behind::journal::DurableError;
use write_behind::{InsertError, InsertErrorKind, Stats, SummingBuffer};

use crate::args::{Ack, Mode};
use crate::backend::Backend;
use crate::counters::Counter;
use crate::dashboard::{self, Dashboard};
use crate::increment::Increment;
use crate::journal;

const MAX_BODY: usize = 16 * 1024;
const SOON: Duration = Duration::from_secs(1);

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) mode: Mode,
    pub(crate) ack: Ack,
    /// When a full buffer is likely to have room again.
    pub(crate) interval: Duration,
    pub(crate) buffer: SummingBuffer<String, i64>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) dashboard: Arc<Dashboard>,
}

pub(crate) fn router(service: Service, metrics: Router<Service>) -> Router {
    Router::new()
        .route("/increment", post(increment))
        .route("/counters/{key}", get(counter))
        .route("/stats", get(stats))
        .route("/healthz", get(healthz))
        .merge(dashboard::routes())
        .merge(metrics)
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service)
}

/// An error as clients see it, with a `Retry-After` where it is worth coming back.
type Problem = (StatusCode, Option<[(HeaderName, String); 1]>, Json<Value>);

fn problem(status: StatusCode, error: impl Into<String>) -> Problem {
    (status, None, Json(json!({ "error": error.into() })))
}

fn unavailable(error: impl ToString, wait: Duration) -> Problem {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    let (status, _, body) = problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    (status, Some([(header::RETRY_AFTER, seconds.to_string())]), body)
}

async fn increment(
    State(service): State<Service>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            problem(status, format!("the body is larger than {MAX_BODY} bytes"))
        }
        status => problem(status, rejection.body_text()),
    })?;
    let increment = Increment::parse(&body).map_err(|(status, error)| problem(status, error))?;
    match service.mode {
        Mode::Buffered => service.add(&increment).await?,
        Mode::Sync => service.write(&increment).await?,
        Mode::Noop => {}
    }
    Ok(StatusCode::ACCEPTED)
}

impl Service {
    async fn add(&self, Increment { key, value }: &Increment) -> Result<(), Problem> {
        if self.ack == Ack::Accepted {
            return self.buffer.add(key.as_str(), *value).map_err(|refused| self.refused(&refused));
        }
        self.buffer.add_durable_async(key.as_str(), *value).await.map_err(|error| match error {
            DurableError::Refused(refused) => self.refused(&refused),
            // Without a time to come back: sent again, it counts twice.
            error => {
                let body = json!({ "error": error.to_string(), "accepted": true });
                (StatusCode::SERVICE_UNAVAILABLE, None, Json(body))
            }
        })
    }

    fn refused(&self, refused: &InsertError<i64>) -> Problem {
        let full = matches!(refused.kind, InsertErrorKind::Full);
        let mut problem = unavailable(refused.kind, if full { self.interval } else { SOON });
        problem.2["accepted"] = false.into();
        problem
    }

    async fn write(&self, increment: &Increment) -> Result<(), Problem> {
        let result = self.backend.counters.add(&increment.key, increment.value).await;
        self.backend.note(&result);
        result.map_err(|error| match error.kind() {
            StoreErrorKind::Rejected => problem(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            _ => unavailable(error, SOON),
        })
    }
}

/// Exact where what was flushed can be read. With `--sink nats` it may still be in the stream.
async fn counter(
    State(Service { buffer, backend, .. }): State<Service>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<Counter>, Problem> {
    let Path(key) = key.map_err(|rejection| problem(rejection.status(), rejection.body_text()))?;
    if key.contains('\0') {
        return Err(problem(StatusCode::NOT_FOUND, "no counter has U+0000 in its key"));
    }
    let exact = read_exactly_async(&buffer, &key, |batch| backend.read(&key, batch)).await;
    let counter = Counter::new(&key, exact.map_err(|error| unavailable(error, SOON))?);
    counter.map(Json).ok_or_else(|| problem(StatusCode::NOT_FOUND, format!("{key:?} has never been counted")))
}

async fn stats(State(service): State<Service>) -> Json<Value> {
    Json(report(&service, &service.buffer.stats()))
}

pub(crate) fn report(Service { mode, buffer, backend, .. }: &Service, stats: &Stats) -> Value {
    json!({
        "mode": format!("{mode:?}").to_lowercase(),
        "accepted": stats.accepted,
        "flushed": stats.flushed,
        "pending": stats.pending,
        "in_flight": stats.in_flight,
        "rejected": stats.rejected,
        "keys": stats.keys,
        "batches": stats.flushes,
        "failures": stats.failures,
        "retries": stats.retries,
        "gave_up": stats.gave_up,
        "dead_letters": backend.letters.written(),
        "hibernating": stats.hibernating,
        "journal": journal::report(buffer, stats),
    })
}

/// Whether the last write went through.
async fn healthz(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    let (status, mut body) = match service.backend.trouble() {
        None => (StatusCode::OK, json!({ "status": "ok" })),
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "degraded", "error": error })),
    };
    if let Some(report) = journal::report(&service.buffer, &service.buffer.stats()) {
        body["journal"] = report;
    }
    (status, Json(body))
}
