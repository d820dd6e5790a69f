//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::postgres;

/// Reads tweets from two streams, examines each in three pools of workers, joins the results and
/// stores them: each tweet once, or named as malformed. Ends with an account that proves it.
#[derive(Debug, Parser)]
#[command(name = "tweets", after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many tweets the included server sends
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    pub(crate) tweets: i64,

    /// Every N-th tweet is a panic message, which kills the workers that get it; 0 for none
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) panic_every: i64,

    /// How many tweets the server sends per second; 0 for as many as are taken
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..))]
    pub(crate) rate: u32,

    /// After how many events, about, the server drops a connection; 0 for never
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    pub(crate) drop_every: u64,

    /// Makes other tweets
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Where tweets and users are kept: sqlite:PATH or postgres://user@host/name. Must be reachable
    /// at the start; may go away later. Without it: an SQLite file that is thrown away at the end.
    /// With ?sslmode=require Postgres is spoken to encrypted, and its certificate verified
    #[arg(long, value_name = "URL", value_parser = database)]
    pub(crate) database: Option<Database>,

    /// Drop what an earlier run has left in the database, instead of refusing to start
    #[arg(long)]
    pub(crate) fresh: bool,

    /// How long a worker pretends to take for a message: sentiment twice as long, engagement half
    #[arg(long, value_name = "DURATION", default_value = "1ms", value_parser = duration)]
    pub(crate) work: Duration,

    /// How few workers a pool shrinks to
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = workers())]
    pub(crate) min_workers: u32,

    /// How many workers a pool grows to
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = workers())]
    pub(crate) max_workers: u32,

    /// To how many workers of each pool a message goes; the first result counts
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = workers())]
    pub(crate) speculate: u32,

    /// How many tweets may be on their way through the pipeline; then the readers wait
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,

    /// How many tweets are written in one go at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,

    /// Smaller batches are written as often as this at most
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = positive_duration)]
    pub(crate) write_every: Duration,

    /// How long SIGINT and SIGTERM may take to store what has been taken in
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) drain_within: Duration,
}

const AFTER_HELP: &str = "\
Durations are written as 300ms, 5s or 2m. Postgres is there when this is built with the feature postgres.

Exit status: 0 the account balances: every tweet that was taken in is stored once or named as
malformed; 1 it does not; 2 the pipeline could not start (bad option, database not reachable).";

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
}

impl Args {
    /// What no option can check alone.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (min, max, copies) = (self.min_workers, self.max_workers, self.speculate);
        if min > max {
            return Err(format!("--min-workers {min} is more than --max-workers {max}"));
        }
        if copies > min {
            return Err(format!(
                "--speculate {copies} needs as many workers: --min-workers {min} is too few"
            ));
        }
        Ok(())
    }
}

fn workers() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000)
}

fn database(text: &str) -> Result<Database, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        return match path {
            "" => Err("the path is missing: write sqlite:PATH".to_owned()),
            _ => Ok(Database::Sqlite(path.into())),
        };
    }
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("write sqlite:PATH or postgres://user@host/name".to_owned());
    }
    postgres::address(text).map(Box::new).map(Database::Postgres)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::from_secs(86_400) => Err("at most 1day".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write 300ms, 5s or 2m")),
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        duration => Ok(duration),
    }
}
