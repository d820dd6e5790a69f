//! Inserts that are on disk when they return: how many in a second, and how long each takes. Every insert has a key
//! of its own, so that no two of them become one row.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::log::Log;
use super::postgres::{Connection, Postgres};
use super::sqlite::Sqlite;
use super::{Subject, WINDOW, few_turns, folder};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::{time_threads, try_turns};

const CALLERS: [usize; 4] = [1, 16, 256, 4_096];
/// More would not help those that write one after the other, and Postgres has no more connections here.
const MOST_PEERS: usize = 16;
const BASE: &str = "an fsync per insert";

/// What was seen of some callers.
struct Seen {
    elapsed: Duration,
    /// How long each insert took, in nanoseconds.
    latencies: Vec<u64>,
}

impl Seen {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds: the median, and the 99th percentile.
    fn quantiles(mut self) -> [f64; 2] {
        self.latencies.sort_unstable();
        let last = self.latencies.len() - 1;
        [0.5, 0.99].map(|part| self.latencies[(last as f64 * part) as usize] as f64 / 1e6)
    }
}

type Measure<'a> = Box<dyn Fn(usize, Duration) -> io::Result<Seen> + 'a>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    let scale = few_turns(scale);
    let mut recording = Recording::new(scale, "journal-durable", "see each case", BASE);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let postgres = Postgres::find(scale);
    let mut contestants: Vec<(&'static str, Measure<'_>)> = vec![
        ("write-behind", Box::new(|callers, lasting| write_behind(scale, &runtime, callers, lasting))),
        (BASE, Box::new(|callers, lasting| log(scale, callers, lasting))),
        ("SQLite", Box::new(|callers, lasting| sqlite(scale, callers, lasting))),
    ];
    if let Some(postgres) = &postgres {
        let measure = |callers, lasting| in_postgres(postgres, &runtime, callers, lasting);
        contestants.push(("Postgres", Box::new(measure)));
    }
    let lasting = Duration::from_millis(if scale.real { 500 } else { 20 });
    for callers in CALLERS {
        let samples = try_turns(scale.turns, &contestants, |(_, measure)| {
            let seen = measure(callers, lasting)?;
            let per_second = seen.per_second();
            let [median, rare] = seen.quantiles();
            Ok::<_, io::Error>([per_second, median, rare])
        })?;
        for (place, what) in ["inserts per second", "p50 in ms", "p99 in ms"].into_iter().enumerate() {
            // How long somebody would wait who is not there is not known.
            let known = place == 0 || callers <= MOST_PEERS;
            let peers = contestants.iter().map(|(name, _)| *name).zip(&samples);
            let peers = peers.filter(|(name, _)| known || *name == "write-behind");
            let of = |turns: &Vec<[f64; 3]>| turns.iter().map(|turn| turn[place]).collect();
            recording
                .add(&[what, &callers.to_string()], peers.map(|(name, turns)| (name, of(turns))).collect());
        }
    }
    recording.save()
}

/// Tasks, so that thousands can wait.
fn write_behind(scale: Scale, runtime: &Runtime, callers: usize, lasting: Duration) -> io::Result<Seen> {
    let subject = Subject::journaled(scale, WINDOW, |builder| builder)?;
    let next = Arc::new(AtomicU64::new(0));
    let seen = runtime.block_on(async {
        let start = Instant::now();
        let call = |_| {
            let (buffer, next) = (subject.buffer.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < lasting {
                    let (key, begun) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                    buffer.add_durable_async(&key, 1).await.map_err(io::Error::other)?;
                    latencies.push(begun.elapsed().as_nanos() as u64);
                }
                Ok(latencies)
            })
        };
        let callers: Vec<_> = (0..callers).map(call).collect();
        gather(start, callers).await
    })?;
    assert_eq!(subject.buffer.stats().accepted, seen.latencies.len() as u64);
    Ok(seen)
}

type Caller = tokio::task::JoinHandle<io::Result<Vec<u64>>>;

async fn gather(start: Instant, callers: Vec<Caller>) -> io::Result<Seen> {
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.expect("nothing panics")?);
    }
    Ok(Seen { elapsed: start.elapsed(), latencies })
}

fn log(scale: Scale, callers: usize, lasting: Duration) -> io::Result<Seen> {
    let folder = folder::make(scale)?;
    let log = Log::create(&folder.path().join("log"))?;
    let seen = on_threads(callers, lasting, |key| log.append(key))?;
    assert_eq!(log.records()?, seen.latencies.len() as u64);
    Ok(seen)
}

fn sqlite(scale: Scale, callers: usize, lasting: Duration) -> io::Result<Seen> {
    let folder = folder::make(scale)?;
    let sqlite = Sqlite::create(&folder.path().join("sqlite")).map_err(io::Error::other)?;
    let seen = on_threads(callers, lasting, |key| sqlite.add(key).map_err(io::Error::other))?;
    assert_eq!(sqlite.rows().map_err(io::Error::other)?, seen.latencies.len() as u64);
    Ok(seen)
}

/// Each caller a thread.
fn on_threads(
    callers: usize,
    lasting: Duration,
    insert: impl Fn(u64) -> io::Result<()> + Sync,
) -> io::Result<Seen> {
    let callers = callers.min(MOST_PEERS);
    let next = AtomicU64::new(0);
    let all = parking_lot::Mutex::new(Ok(Vec::new()));
    let elapsed = time_threads(callers, |_| {
        let (start, mut latencies) = (Instant::now(), Vec::new());
        let mut work = || -> io::Result<()> {
            while start.elapsed() < lasting {
                let (key, begun) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                insert(key)?;
                latencies.push(begun.elapsed().as_nanos() as u64);
            }
            Ok(())
        };
        let worked = work();
        let mut all = all.lock();
        match (worked, &mut *all) {
            (Ok(()), Ok(all)) => all.extend(latencies),
            (Err(error), _) => *all = Err(error),
            (Ok(()), Err(_)) => {}
        }
    });
    Ok(Seen { elapsed, latencies: all.into_inner()? })
}

/// Each caller a task with a connection.
fn in_postgres(
    postgres: &Postgres,
    runtime: &Runtime,
    callers: usize,
    lasting: Duration,
) -> io::Result<Seen> {
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut connections = vec![postgres.set_up().await.map_err(io::Error::other)?];
        while connections.len() < callers.min(MOST_PEERS) {
            connections.push(postgres.connect().await.map_err(io::Error::other)?);
        }
        let start = Instant::now();
        let call = |connection: Connection| {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < lasting {
                    let (key, begun) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                    connection.add(key).await.map_err(io::Error::other)?;
                    latencies.push(begun.elapsed().as_nanos() as u64);
                }
                Ok(latencies)
            })
        };
        let seen = gather(start, connections.into_iter().map(call).collect()).await?;
        assert_eq!(postgres.clean_up().await.map_err(io::Error::other)?, seen.latencies.len() as u64);
        Ok(seen)
    })
}
