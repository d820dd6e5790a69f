//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::Targets;

use crate::{nats, postgres, redis};

/// Counts things over HTTP: increments are added up in memory and written to a database once per
/// key and interval, each exactly once.
#[derive(Debug, Parser)]
#[command(name = "counters", after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3333")]
    pub(crate) listen: SocketAddr,

    /// Where counters are kept: sqlite:PATH or postgres://user@host/name [default: counters.sqlite in --data]
    #[arg(long, value_name = "URL", value_parser = database)]
    database: Option<Database>,

    /// Where files are kept that have no place of their own; created if it is missing
    #[arg(long, value_name = "FOLDER", default_value = "counters-data")]
    pub(crate) data: PathBuf,

    /// Where counters are kept with --sink redis [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "URL", value_parser = redis::address, default_value_if("sink", "redis", "redis://127.0.0.1:6379"))]
    pub(crate) redis: Option<redis::Address>,

    /// Where batches are published with --sink nats [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL", value_parser = nats::address, default_value_if("sink", "nats", "nats://127.0.0.1:4222"))]
    pub(crate) nats: Option<nats::Address>,

    /// How what was added up is written
    #[arg(long, value_enum, default_value_t = SinkKind::Upsert)]
    pub(crate) sink: SinkKind,

    /// How long an increment may stay in memory before it is written
    #[arg(long, visible_alias = "polling-time", value_name = "DURATION", default_value = "5s", value_parser = positive)]
    pub(crate) interval: Duration,

    /// Up to this much is added to the interval at random, key by key
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub(crate) jitter: Duration,

    /// Into how many parts the table in memory is divided
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) partitions: u32,

    /// How many keys may wait in memory; beyond that new keys are answered 503
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_keys: u64,

    /// Write a key at once when it has collected this many increments
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) flush_at_count: Option<u32>,

    /// Write everything at once when so many increments are waiting, of all keys together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_updates: Option<u64>,

    /// Load all totals at the start and answer reads from memory: for the only process that writes to the database
    #[arg(long)]
    pub(crate) hydrate: bool,

    /// How long one attempt to write may take, before it is cancelled and made again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive)]
    pub(crate) flush_timeout: Duration,

    /// What an increment does
    #[arg(long, value_enum, default_value_t = Mode::Buffered)]
    pub(crate) mode: Mode,

    /// Where increments go that cannot be stored, until the next start [default: dead-letters.jsonl in --data]
    #[arg(long, value_name = "FILE")]
    dead_letter: Option<PathBuf>,

    /// Keep what is in memory in this file too, for the next process to go on with after a crash
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,

    /// When an increment is answered
    #[arg(long, value_enum, default_value_t = Ack::Accepted)]
    pub(crate) ack: Ack,

    /// How long SIGINT and SIGTERM may take to write what is in memory
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) shutdown_within: Duration,

    /// What is logged to stderr: a level (error, warn, info, debug, trace, off), also by crate
    #[arg(long, value_name = "LEVELS", default_value = "warn,counters=info")]
    pub(crate) log: Targets,

    /// For tests: writes each batch twice in a row
    #[arg(long, hide = true)]
    pub(crate) send_twice: bool,
}

impl Args {
    pub(crate) fn database(&self) -> Database {
        self.database.clone().unwrap_or_else(|| Database::Sqlite(self.data.join("counters.sqlite")))
    }

    pub(crate) fn dead_letter(&self) -> PathBuf {
        self.dead_letter.clone().unwrap_or_else(|| self.data.join("dead-letters.jsonl"))
    }

    /// Whether something is to be kept in the folder for data.
    pub(crate) fn uses_data(&self) -> bool {
        let database = match self.database() {
            Database::Sqlite(path) if self.sink == SinkKind::Upsert => Some(path),
            _ => None,
        };
        let mut files = [Some(self.dead_letter()), self.journal.clone(), database].into_iter().flatten();
        files.any(|file| file.starts_with(&self.data))
    }

    /// Which options go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (sink, buffered, journaled) = (self.sink, self.mode == Mode::Buffered, self.journal.is_some());
        let durable = self.ack == Ack::Durable;
        let redis = "--sink redis keeps the counters in --redis; there is no --database then";
        let rules = [
            (self.database.is_some(), sink != SinkKind::Redis, redis),
            (self.redis.is_some(), sink == SinkKind::Redis, "--redis goes with --sink redis only"),
            (self.nats.is_some(), sink == SinkKind::Nats, "--nats goes with --sink nats only"),
            (self.hydrate, sink == SinkKind::Upsert, "--hydrate goes with --sink upsert only"),
            (self.hydrate, buffered, "--hydrate goes with --mode buffered only: no other writes behind"),
            (
                journaled,
                buffered,
                "--journal goes with --mode buffered only: no other has anything in memory",
            ),
            (durable, journaled, "--ack durable needs --journal FILE, which is what it waits for"),
        ];
        let broken = rules.into_iter().find(|(given, goes, _)| *given && !goes);
        broken.map_or(Ok(()), |(.., rule)| Err(rule.to_owned()))
    }
}

const AFTER_HELP: &str = "\
Durations are written as 300ms, 5s, 2m or 1h.

The database must be reachable at the start and may go away later. Which ones there are besides SQLite is decided
when this is built: the features postgres, redis and nats, and tls for Postgres, or full. With ?sslmode=require
Postgres is spoken to encrypted, and its certificate verified: by those of the system, or of the file in SSL_CERT_FILE.

With --hydrate what others write is not seen until the next start, and each counter takes its key and 100 to 150 bytes.
What is still in memory when --shutdown-within is over goes to the dead letters. With --journal it stays in the journal,
and no time is spent on a database that does not answer. A journal has one process at a time; dead letters may be shared.

POST /increment {\"key\": \"k\", \"value\": 3}, GET /counters/{key}, GET /stats, GET /healthz,
GET / for a page that shows what happens, GET /metrics for Prometheus.

An increment is answered 202, or nothing of it is kept. The exception is a 503 that says \"accepted\": true: with
--ack durable the increment is counted and will be stored, unless the process dies first. Sent again, it counts twice.

Exit status: 0 everything is stored, or in the journal for the next start; 1 something is in the dead-letter file instead; 2 the service
could not start (bad option, address in use, database not reachable).";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Added up in memory, written behind
    Buffered,
    /// Read and written in the database before the answer
    Sync,
    /// Answered and forgotten: what HTTP alone costs
    Noop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// When it is in memory. With --journal a crash loses what came in its last 50 ms or so
    Accepted,
    /// When it is on disk, in the journal, where no crash loses it
    Durable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SinkKind {
    /// Added to the totals in the database, at once
    Upsert,
    /// Appended to a log table in Postgres; a job in the background adds it to the totals
    LogTable,
    /// Added to the totals in Redis; as durable as that is: set appendonly yes and appendfsync always
    Redis,
    /// Published to a JetStream stream, and moved to a log table in Postgres from there; totals lag by that
    Nats,
}

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
}

/// What is missing where the database is none that the sink can write to.
pub(crate) fn needs_postgres(sink: SinkKind) -> String {
    const EXAMPLE: &str = "postgres://user@host/name";
    let sink = sink.to_possible_value().map_or_else(String::new, |sink| sink.get_name().to_owned());
    // If no address is of use here, that comes first.
    postgres::address(EXAMPLE).err().unwrap_or_else(|| format!("--sink {sink} needs --database {EXAMPLE}"))
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
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number and ms, s, m or h, such as 300ms or 5s".to_owned()),
    };
    let millis = match number {
        "" => return Err("the number is missing: write 300ms or 5s".to_owned()),
        number => number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)),
    };
    millis.map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

fn positive(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("must be more than zero".to_owned()) } else { Ok(duration) }
}
