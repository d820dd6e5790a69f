//! A counter service: a buffer of sums behind HTTP, in front of SQLite, Postgres, Redis or NATS.
//!
//! `cargo run --release -p counters`, then
//! `curl -d '{"key": "page-7", "value": 3}' http://127.0.0.1:3333/increment` and
//! `curl http://127.0.0.1:3333/counters/page-7`.

#[cfg(not(all(feature = "nats", feature = "postgres", feature = "redis")))]
mod absent;
mod args;
mod backend;
mod counters;
mod dashboard;
mod drain;
mod http;
mod increment;
mod journal;
mod metrics;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sqlite;
mod totals;

use std::error::Error;
use std::net::TcpListener;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use axum::Router;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use write_behind::dead_letters::{Burying, DeadLetters, Replayed};
use write_behind::exactly_once::{AsyncStore, ExactlyOnce, Fate};
use write_behind::journal::Journal;
use write_behind::{Buffer, Builder, FlushWaitError, MetricsObserver, RetryPolicy, Sum};

#[cfg(not(all(feature = "nats", feature = "postgres", feature = "redis")))]
use crate::absent::*;
use crate::args::{Args, Database, SinkKind};
use crate::backend::{Backend, Noted};
use crate::counters::Counters;
use crate::dashboard::{Dashboard, Watched};
use crate::http::Service;
use crate::totals::Totals;

/// What the buffer writes to.
type Sink<S> = Burying<ExactlyOnce<Noted<S>>, String, Sum<i64>>;

/// Whether everything is stored.
type Ended = Result<bool, Box<dyn Error>>;

/// How many threads may wait for SQLite and for files at once.
const BLOCKING_THREADS: usize = 16;

fn main() -> ExitCode {
    let args = Args::parse();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    tracing_subscriber::registry().with(lines).with(args.log.clone()).init();
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

/// Runs until a signal comes.
async fn run(args: &Args) -> Ended {
    args.check()?;
    let listener = TcpListener::bind(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let sink = (args.sink, args.database(), args.redis.clone(), args.nats.clone());
    let serving: Pin<Box<dyn Future<Output = Ended> + '_>> = match sink {
        (SinkKind::Upsert, Database::Sqlite(path), ..) => Box::pin(sqlite::run(path, args, listener)),
        #[cfg(feature = "postgres")]
        (SinkKind::Upsert, Database::Postgres(address), ..) => {
            Box::pin(postgres::run(*address, args, listener))
        }
        #[cfg(feature = "postgres")]
        (SinkKind::LogTable, Database::Postgres(address), ..) => {
            Box::pin(postgres::run_logged(*address, args, listener))
        }
        #[cfg(not(feature = "postgres"))]
        (_, Database::Postgres(absent), ..) => match *absent {},
        #[cfg(feature = "redis")]
        (SinkKind::Redis, _, Some(server), _) => Box::pin(redis::run(server, args, listener)),
        #[cfg(feature = "nats")]
        (SinkKind::Nats, Database::Postgres(address), _, Some(server)) => {
            Box::pin(nats::run(server, *address, args, listener))
        }
        _ => return Err(args::needs_postgres(args.sink).into()),
    };
    // Nothing was changed before.
    if args.uses_data() {
        let problem = |error| format!("the folder {} cannot be used: {error}", args.data.display());
        fs::create_dir_all(&args.data).map_err(problem)?;
    }
    serving.await
}

fn cannot(error: impl std::fmt::Display) -> String {
    format!("the database cannot be used: {error}")
}

/// Counts over HTTP until a signal comes, in front of `store`, which `counters` reads.
async fn serve<S>(store: S, counters: Arc<dyn Counters>, args: &Args, listener: TcpListener) -> Ended
where
    S: AsyncStore<String, Sum<i64>> + 'static,
{
    // What cannot be stored goes to a file, and from there to the database at the next start.
    let path = args.dead_letter();
    let cannot_use =
        |error: io::Error| format!("the dead-letter file {} cannot be used: {error}", path.display());
    let letters = DeadLetters::open(&path).map_err(cannot_use)?;
    let backend = Arc::new(Backend::new(counters, letters));
    let store = Noted { store, backend: Arc::clone(&backend), twice: args.send_twice };
    let sink = Arc::new(Burying::new(ExactlyOnce::new(store), Arc::clone(&backend.letters)));
    let replayed = replay(&backend.letters, &sink).await.map_err(cannot_use)?;
    if replayed.stopped {
        return Err(cannot(replayed.first_problem.unwrap_or_default()).into());
    }

    if args.hydrate {
        backend.counters.await_predecessors().await.map_err(cannot)?;
    }
    let metrics = metrics::routes()?;
    let dashboard = Arc::<Dashboard>::default();
    let watched = Watched { sink: Arc::clone(&sink), dashboard: Arc::clone(&dashboard) };
    let builder = builder(args).observer(Arc::clone(&backend)).observer(Arc::clone(&dashboard));
    let buffer = builder.observer(MetricsObserver::new()).start_async(watched)?;
    journal::announce(args.journal.as_deref(), buffer.recovered());
    sink.sink().register_async::<String, Sum<i64>>(buffer.writer()).await.map_err(cannot)?;
    if args.hydrate {
        // What was found in the journal may be in the database already. Once it is written it is, or was given up.
        let written = buffer.flush_all_and_wait_async(args.flush_timeout).await;
        if let Err(error @ FlushWaitError::TimedOut(_)) = written {
            return Err(cannot(error).into());
        }
        let totals = backend.counters.load().await.map_err(cannot)?;
        backend.totals.get_or_init(|| Totals::new(totals));
    }

    let folding = Arc::clone(&backend);
    tokio::spawn(async move { folding.fold().await });
    let (mode, ack, interval) = (args.mode, args.ack, args.interval);
    let service =
        Service { mode, ack, interval, buffer: buffer.clone(), backend: Arc::clone(&backend), dashboard };
    let deadline = listen(listener, http::router(service, metrics), args.shutdown_within).await?;
    Ok(drain::drain(&buffer, &backend, args.journal.as_deref(), deadline).await)
}

/// Applies what earlier runs could not store, each once, before anything new is written.
async fn replay<S>(letters: &DeadLetters<String, Sum<i64>>, sink: &Arc<Sink<S>>) -> io::Result<Replayed>
where
    S: AsyncStore<String, Sum<i64>> + 'static,
{
    let store = sink.sink().store();
    let void = async |batch| match store.void(batch, 1).await {
        // Of one that had a journal, which is not used any more.
        Ok(Fate::Superseded { by }) => store.void(batch, by).await,
        other => other,
    };
    let replayed = letters.replay_resolving_async(Arc::clone(sink), void).await?;
    let Replayed { applied, had_been, left, .. } = replayed;
    let (path, problem) = (letters.path().display(), replayed.first_problem.as_deref().unwrap_or_default());
    if applied + had_been > 0 {
        info!("{path}: {applied} dead letters applied, {had_been} had been already");
    }
    if left > 0 && !replayed.stopped {
        warn!("{path}: {left} dead letters stay, the first because {problem}");
    }
    Ok(replayed)
}

fn builder(args: &Args) -> Builder<String, Sum<i64>> {
    // Without end, as is the default: an outage must lose nothing. Keys that can never succeed are told apart by the
    // store and go to the dead letters.
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
        .retry(retry);
    if let Some(inserts) = args.flush_at_count {
        builder = builder.flush_at_count(inserts);
    }
    if let Some(updates) = args.max_updates {
        builder = builder.flush_all_at_count(updates);
    }
    if let Some(path) = &args.journal {
        // Not the names of types, which may change with a release.
        builder = builder.journal(Journal::at(path).schema("counters: text -> 64 bits"));
    }
    builder
}

/// Serves until a signal comes, and says by when all must be over.
async fn listen(listener: TcpListener, router: Router, within: Duration) -> io::Result<Instant> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop).notified_owned();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => ended??,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let deadline = Instant::now() + within;
    info!("stopping");
    stop.notify_waiters();
    // Requests under way are answered; a client that dawdles does not get the time that the data needs. It is answered
    // 503 from then on.
    let _ = tokio::time::timeout(within / 4, server).await;
    Ok(deadline)
}
