//! The HTTP side: routes, answers and errors.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use write_behind::exactly_once::StoreErrorKind;
use write_behind::journal::DurableError;
use write_behind::{InsertError, InsertErrorKind, Stats, SummingBuffer};

use crate::args::{Ack, Mode};
use crate::backend::Backend;
use crate::counters::{self, Counter};
use crate::dashboard::{self, Dashboard};
use crate::increment::Increment;
use crate::journal;

const MAX_BODY: usize = 16 * 1024;

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
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service)
}

/// An error as clients see it.
struct Problem {
    status: StatusCode,
    error: String,
    retry_after: Option<Duration>,
    /// Whether an increment that was not answered 202 is counted nevertheless.
    accepted: Option<bool>,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Problem { status, error: error.into(), retry_after: None, accepted: None }
    }

    /// 503, and when it is worth coming back.
    fn unavailable(error: impl Into<String>, retry_after: Duration) -> Self {
        Problem { retry_after: Some(retry_after), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, error) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let Some(accepted) = self.accepted {
            body["accepted"] = accepted.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1_000).max(1) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

async fn increment(
    State(service): State<Service>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes"))
        }
        status => Problem::new(status, rejection.body_text()),
    })?;
    let increment = Increment::parse(&body).map_err(|(status, error)| Problem::new(status, error))?;
    match service.mode {
        Mode::Buffered => service.add(&increment).await?,
        Mode::Sync => service.write(&increment).await?,
        Mode::Noop => {}
    }
    Ok(StatusCode::ACCEPTED)
}

impl Service {
    async fn add(&self, Increment { key, value }: &Increment) -> Result<(), Problem> {
        match self.ack {
            Ack::Accepted => self.buffer.add(key.as_str(), *value).map_err(|refused| self.refused(&refused)),
            Ack::Durable => {
                self.buffer.add_durable_async(key.as_str(), *value).await.map_err(|error| match error {
                    DurableError::Refused(refused) => self.refused(&refused),
                    // Without a time to come back: sent again, it counts twice.
                    error => Problem {
                        accepted: Some(true),
                        ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    },
                })
            }
        }
    }

    fn refused(&self, refused: &InsertError<i64>) -> Problem {
        let full = matches!(refused.kind, InsertErrorKind::Full);
        let wait = if full { self.interval } else { Duration::from_secs(1) };
        Problem { accepted: Some(false), ..Problem::unavailable(refused.kind.to_string(), wait) }
    }

    async fn write(&self, increment: &Increment) -> Result<(), Problem> {
        let result = self.backend.counters.add(&increment.key, increment.value).await;
        self.backend.note(&result);
        result.map_err(|error| match error.kind() {
            StoreErrorKind::Rejected => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            _ => Problem::unavailable(error.to_string(), Duration::from_secs(1)),
        })
    }
}

async fn counter(
    State(service): State<Service>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<Counter>, Problem> {
    let Path(key) = key.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    if key.contains('\0') {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no counter has U+0000 in its key"));
    }
    let counter = match service.backend.totals.get() {
        Some(totals) => totals.read(&service.buffer, &key),
        None => counters::read(&service.buffer, &*service.backend.counters, &key)
            .await
            .map_err(|error| Problem::unavailable(error.to_string(), Duration::from_secs(1)))?,
    };
    let never_seen = || Problem::new(StatusCode::NOT_FOUND, format!("{key:?} has never been counted"));
    counter.map(Json).ok_or_else(never_seen)
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
async fn healthz(State(service): State<Service>) -> Response {
    let (status, mut body) = match service.backend.trouble() {
        None => (StatusCode::OK, json!({ "status": "ok" })),
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "degraded", "error": error })),
    };
    if let Some(report) = journal::report(&service.buffer, &service.buffer.stats()) {
        body["journal"] = report;
    }
    (status, Json(body)).into_response()
}
