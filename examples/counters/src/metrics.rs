//! `GET /metrics`: what the buffer publishes through the `metrics` facade, for Prometheus.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

use crate::http::Service;
use crate::journal;

/// Seconds, from what a cached page takes to the longest attempt that is usual.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
const KEYS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0];

/// What histograms collect is moved to their buckets this often. If nobody scraped it would pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's recorder, so it comes before the buffer. Called on the runtime.
pub(crate) fn routes() -> Result<Router<Service>, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("write_behind_batch_keys".to_owned()), &KEYS)?
        .install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let scrape = async move |State(service): State<Service>| {
        journal::publish(&service.buffer);
        let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        (headers, handle.render()).into_response()
    };
    Ok(Router::new().route("/metrics", get(scrape)))
}
