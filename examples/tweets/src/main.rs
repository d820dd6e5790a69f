//! A tweet pipeline: two streams of server-sent events, three pools of workers, a join, a database.
//!
//!     cargo run --release -p tweets
//!
//! ```text
//! /tweets/1 -> reader --+              +-> redaction ---+
//!                       +-> intake ----+-> sentiment ---+-> join -> writer -> tweets, users
//! /tweets/2 -> reader --+      |       +-> engagement --+
//!                              |                 +-> sums per user -> users
//!                              +-> sums per hashtag -> the summary
//! ```
//!
//! The join and the two sums are buffers of this crate. A tweet has a place in the join from the
//! moment it is taken in until it is stored, so the join's bound is the bound of the pipeline: when
//! the database is away, places run out, readers wait for one, and the server's sockets fill up.
//!
//! To read: `intake.rs` (how a tweet enters), `message.rs` (who comes first), `pool.rs` and
//! `worker.rs` (balancing, deaths, growing), `join.rs` and `sinks.rs` (what this crate does),
//! `store.rs` (why a batch may be sent twice), `account.rs` (the proof).

mod account;
mod args;
mod client;
mod display;
mod generator;
mod intake;
mod join;
mod message;
mod outbox;
mod pipeline;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(not(feature = "postgres"))]
#[path = "postgres/absent.rs"]
mod postgres;
mod progress;
mod reader;
mod server;
mod sinks;
mod sqlite;
mod stage;
mod stop;
mod store;
mod tweet;
mod worker;

use std::error::Error;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::account::Account;
use crate::args::Args;
use crate::message::Malformed;
use crate::pipeline::Pipeline;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::store::Store;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    be_quiet_about_malformed_events();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tweets: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs to the end and says whether the account balances.
async fn run(args: &Args) -> Result<bool, Box<dyn Error + Send + Sync>> {
    args.check()?;
    let scratch = tempfile::tempdir()?;
    let store = Store::open(args.database.as_ref(), &scratch.path().join("tweets.sqlite"), args.fresh).await;
    let store = Arc::new(store.map_err(|error| format!("the database cannot be used: {error}"))?);
    let (progress, stop) = (Arc::new(Progress::default()), Stop::new());
    stop_on_signals(&stop)?;

    let started = Instant::now();
    let pipeline = Pipeline::start(args, &store, &progress, &stop).await?;
    let left = pipeline.run(&stop, args.drain_within).await;
    let seconds = started.elapsed().as_secs_f64();

    println!("{:.1} s, {:.0} tweets a second", seconds, progress.taken() as f64 / seconds);
    if left > 0 {
        println!("{left} tweets and sums could not be stored in time");
    }
    let Ok(contents) = store.contents().await.inspect_err(|error| println!("NO ACCOUNT   {error}")) else {
        return Ok(false);
    };
    let account = Account::draw_up(&pipeline::generator(args), &progress, contents);
    println!("{account}");
    Ok(left == 0 && account.differences().is_empty())
}

fn stop_on_signals(stop: &Stop) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.set();
    });
    Ok(())
}

/// Workers die of these by the hundred. Any other panic is reported as usual.
fn be_quiet_about_malformed_events() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Malformed>() {
            report(info);
        }
    }));
}
