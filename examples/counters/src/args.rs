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

    /// Where counters are kept: sqlite:PATH or postgres://user@host/name. Must be reachable at the
    /// start; may go away later. With ?sslmode=require Postgres is spoken to encrypted, and its
    /// certificate verified: by those of the system, or of the file in SSL_CERT_FILE [default: counters.sqlite in --data]
    #[arg(long, value_name = "URL", value_parser = database)]
    pub(crate) database: Option<Database>,

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
    #[arg(
        long, visible_alias = "polling-time", value_name = "DURATION", default_value = "5s",
        value_parser = positive_duration
    )]
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

    /// Load all totals at the start and answer reads from memory, exactly and also while the database
    /// is away. For the only process that writes to the database: what others write is not seen until
    /// the next start. Takes 100 to 150 bytes and the key for each counter there is
    #[arg(long)]
    pub(crate) hydrate: bool,

    /// How long one attempt to write may take. Then it is cancelled and made again; what both
    /// write counts once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(crate) flush_timeout: Duration,

    /// What an increment does
    #[arg(long, value_enum, default_value_t = Mode::Buffered)]
    pub(crate) mode: Mode,

    /// Where increments go that cannot be stored. Its lines are applied at the next start, each
    /// once. Processes on one machine may share the file [default: dead-letters.jsonl in --data]
    #[arg(long, value_name = "FILE")]
    dead_letter: Option<PathBuf>,

    /// Keep what is in memory in this file too, so that a crash loses none of it. One process at a time has it;
    /// the next one goes on with what it finds there
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,

    /// When an increment is answered
    #[arg(long, value_enum, default_value_t = Ack::Accepted)]
    pub(crate) ack: Ack,

    /// How long SIGINT and SIGTERM may take to write what is in memory; the rest goes to the
    /// dead-letter file. With --journal no longer than the database answers, and the rest stays in the journal
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
    /// The files that this process writes besides those of the database.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.journal.clone().into_iter().chain([self.dead_letter()])
    }

    /// Which options go together.
    fn check(&self) -> Result<(), String> {
        let (sink, buffered, journal) = (self.sink, self.mode == Mode::Buffered, self.journal.is_some());
        let only = |given: bool, goes: bool, problem: &str| match given && !goes {
            true => Err(problem.to_owned()),
            false => Ok(()),
        };
        only(self.redis.is_some(), sink == SinkKind::Redis, "--redis goes with --sink redis only")?;
        only(self.nats.is_some(), sink == SinkKind::Nats, "--nats goes with --sink nats only")?;
        only(self.hydrate, sink == SinkKind::Upsert, "--hydrate goes with --sink upsert only")?;
        let why = "--hydrate goes with --mode buffered only: the others do not write behind";
        only(self.hydrate, buffered, why)?;
        let why = "--journal goes with --mode buffered only: the others keep nothing in memory";
        only(journal, buffered, why)?;
        let why = "--ack durable needs --journal FILE, which is what it waits for";
        only(self.ack == Ack::Durable, journal, why)
    }

    pub(crate) fn dead_letter(&self) -> PathBuf {
        self.dead_letter.clone().unwrap_or_else(|| self.data.join("dead-letters.jsonl"))
    }
}

const AFTER_HELP: &str = "\
Durations are written as 300ms, 5s, 2m or 1h.

Which databases there are besides SQLite is decided when this is built: the features postgres, redis and
nats, and tls for Postgres, or full.

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
    /// Appended to a log table in Postgres; a job in the background adds it to the totals. Reads are
    /// exact all the while
    LogTable,
    /// Added to the totals in Redis, instead of --database. As durable as Redis is: it needs
    /// appendonly yes and appendfsync always
    Redis,
    /// Published to a JetStream stream, and moved to a log table in Postgres from there. Totals lag by
    /// what is in the stream
    Nats,
}

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
}

/// Where batches go: what options that go together say.
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
    LogTable(Box<postgres::Address>),
    Redis(redis::Address),
    Nats(Box<nats::Address>, Box<postgres::Address>),
}

impl Target {
    /// # Errors
    ///
    /// Options that do not go together, and why.
    pub(crate) fn choose(args: &Args) -> Result<Self, String> {
        args.check()?;
        match (args.sink, args.database.clone(), args.redis.clone(), args.nats.clone()) {
            (SinkKind::Upsert, None, ..) => Ok(Target::Sqlite(args.data.join("counters.sqlite"))),
            (SinkKind::Upsert, Some(Database::Sqlite(path)), ..) => Ok(Target::Sqlite(path)),
            (SinkKind::Upsert, Some(Database::Postgres(address)), ..) => Ok(Target::Postgres(address)),
            (SinkKind::LogTable, Some(Database::Postgres(address)), ..) => Ok(Target::LogTable(address)),
            (SinkKind::Nats, Some(Database::Postgres(address)), _, Some(server)) => {
                Ok(Target::Nats(Box::new(server), address))
            }
            (SinkKind::LogTable, ..) => Err(needs_postgres("log-table")),
            (SinkKind::Nats, ..) => Err(needs_postgres("nats")),
            (SinkKind::Redis, None, Some(server), _) => Ok(Target::Redis(server)),
            (SinkKind::Redis, ..) => {
                Err("--sink redis keeps the counters in --redis; there is no --database then".to_owned())
            }
        }
    }
}

fn needs_postgres(sink: &str) -> String {
    const EXAMPLE: &str = "postgres://user@host/name";
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
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number and ms, s, m or h, such as 300ms or 5s".to_owned()),
    };
    if number.is_empty() {
        return Err("the number is missing: write 300ms or 5s".to_owned());
    }
    let millis = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    millis.map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        duration => Ok(duration),
    }
}
