//! A counter service: a buffer of sums behind HTTP, in front of SQLite, Postgres, Redis or NATS.
//!
//! `cargo run --release -p counters`, then
//! `curl -d '{"key": "page-7", "value": 3}' http://127.0.0.1:3333/increment` and
//! `curl http://127.0.0.1:3333/counters/page-7`.

mod args;
mod backend;
mod dashboard;
mod dead_letters;
mod drain;
mod exact_read;
mod folding;
mod http;
mod increment;
mod logging;
mod metrics;
#[cfg(feature = "nats")]
mod nats;
#[cfg(not(feature = "nats"))]
#[path = "nats/absent.rs"]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(not(feature = "postgres"))]
#[path = "postgres/absent.rs"]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(not(feature = "redis"))]
#[path = "redis/absent.rs"]
mod redis;
mod replay;
mod sink;
mod sqlite;
mod store;
mod target;
mod totals;

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};
use write_behind::{Buffer, BuildError, MetricsObserver, RetryPolicy, SummingBuffer};

use crate::args::Args;
use crate::backend::{Backend, Cancellations};
use crate::dashboard::{Dashboard, Watched};
use crate::dead_letters::DeadLetters;
use crate::http::Service;
use crate::sink::Sink;
use crate::store::StoreError;
use crate::target::Target;

/// How many threads may wait for SQLite and for files at once.
const BLOCKING_THREADS: usize = 16;

fn main() -> ExitCode {
    let args = Args::read();
    logging::start(&args.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(run(&args));
        // What still waits for the database shall not hold up the end.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counters: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs until a signal comes. Says whether everything is stored.
async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let target = Target::choose(args)?;
    let dead_letter = args.dead_letter();
    // Before anything is changed.
    let listener = TcpListener::bind(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let backend = Arc::new(open(args, target, &dead_letter).await?);
    let metrics = metrics::routes()?;
    let dashboard = Arc::<Dashboard>::default();
    let buffer = start_buffer(args, &backend, &dashboard)?;
    let service = Service {
        mode: args.mode,
        interval: args.interval,
        buffer: buffer.clone(),
        backend: Arc::clone(&backend),
        dashboard,
    };
    let folded = Arc::clone(&backend);
    tokio::spawn(async move { folding::run(&folded).await });
    let router = http::router(service, metrics);
    let deadline = serve(listener, router, args.shutdown_within).await?;
    Ok(drain::drain(&buffer, &backend, deadline).await)
}

/// Opens database and dead-letter file, and replays the latter. Blocks: nobody is served yet.
async fn open(args: &Args, target: Target, dead_letter: &Path) -> Result<Backend, Box<dyn Error>> {
    let cannot = |error: StoreError| format!("the database cannot be used: {error}");
    if target.is_in(&args.data) || dead_letter.starts_with(&args.data) {
        let problem = |error| format!("the folder {} cannot be used: {error}", args.data.display());
        fs::create_dir_all(&args.data).map_err(problem)?;
    }
    let store = target.open().await.map_err(cannot)?;
    let writer = Backend::new_writer();
    let path = dead_letter.display();
    let cannot_use = |error| format!("the dead-letter file {path} cannot be used: {error}");
    let letters = DeadLetters::open(dead_letter, writer).map_err(cannot_use)?;
    let report = replay::replay(&letters, store.as_ref()).await.map_err(cannot_use)?.map_err(cannot)?;
    if report.added + report.were_there > 0 {
        let replay::Report { added, were_there, .. } = report;
        info!("{path}: {added} dead letters applied, {were_there} had been already");
    }
    if let Some(problem) = report.first_problem {
        warn!("{path}: {} dead letters stay, the first because {problem}", report.kept);
    }
    // After the replay: what it asks the ledger about must not be forgotten before.
    store.register(writer).await.map_err(cannot)?;
    let mut backend = Backend::new(store, letters, writer);
    if args.hydrate {
        backend.hydrate().await.map_err(cannot)?;
    }
    Ok(backend)
}

fn start_buffer(
    args: &Args,
    backend: &Arc<Backend>,
    dashboard: &Arc<Dashboard>,
) -> Result<SummingBuffer<String, i64>, BuildError> {
    // Without end, as is the default: an outage must lose nothing. Keys that can never succeed are told
    // apart by the sink and go to the dead letters.
    let retry = RetryPolicy::new().delay(Duration::from_millis(100)).cap(Duration::from_secs(5)).jitter(0.5);
    let mut builder = Buffer::builder()
        .name("counters")
        .interval(args.interval)
        .jitter(args.jitter)
        .partitions(args.partitions as usize)
        .max_keys(args.max_keys)
        // One sum pending and one in flight, and some where a sum would not fit any more.
        .max_weight(args.max_keys.saturating_mul(4))
        .flush_timeout(args.flush_timeout)
        .retry(retry)
        .observer(Cancellations(Arc::clone(backend)))
        .observer(Arc::clone(dashboard))
        .observer(MetricsObserver::new());
    if let Some(inserts) = args.flush_at_count {
        builder = builder.flush_at_count(inserts);
    }
    if let Some(updates) = args.max_updates {
        builder = builder.flush_all_at_count(updates);
    }
    let sink = Sink::new(Arc::clone(backend), args.send_twice);
    builder.start_async(Watched { sink, dashboard: Arc::clone(dashboard) })
}

/// Serves until a signal comes, and says by when all must be over.
async fn serve(listener: TcpListener, router: Router, within: Duration) -> std::io::Result<Instant> {
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop).notified_owned();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => ended??,
        () = any(&mut signals) => {}
    }
    let deadline = Instant::now() + within;
    info!("stopping");
    stop.notify_waiters();
    // Requests under way are answered; a client that dawdles does not get the time that the data
    // needs. It is answered 503 from then on.
    let _ = tokio::time::timeout(within / 4, server).await;
    Ok(deadline)
}

async fn any((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
