//! A buffer with a journal, from its start to its crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{Journal, Recovered};
use write_behind::{Buffer, Builder, ManualClock, RetryPolicy, Sum, SummingBuffer};

use super::store::Database;

pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
pub(crate) const WINDOW: Duration = Duration::from_millis(50);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How much is tried: from the environment, or what takes a moment.
pub(crate) fn how_many(variable: &str, otherwise: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(otherwise, |number| number.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Where journals are, one for each life.
pub(crate) struct Place {
    folder: TempDir,
    lives: AtomicUsize,
}

/// One life.
pub(crate) struct Life {
    pub(crate) clock: ManualClock,
    pub(crate) buffer: SummingBuffer<u64, i64>,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { folder: TempDir::new().unwrap(), lives: AtomicUsize::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.journal", self.lives.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn begin(&self, database: &Database) -> Life {
        Life::begin(self.path(), database)
    }

    pub(crate) fn begin_with(
        &self,
        database: &Database,
        set: impl FnOnce(Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>>,
    ) -> Life {
        Life::begin_with(self.path(), database, set)
    }

    /// The next life, with what is on disk at this moment. The old one is left to itself.
    pub(crate) fn crash(&self, life: Life, database: &Database) -> Life {
        let next = self.succeed(&life, database);
        // Nothing of it happens any more.
        std::mem::forget(life);
        next
    }

    /// The next life, while the old one goes on as a zombie.
    pub(crate) fn succeed(&self, life: &Life, database: &Database) -> Life {
        let path = self.path();
        fs::copy(&life.path, &path).unwrap();
        Life::begin(path, database)
    }
}

impl Life {
    pub(crate) fn begin(path: PathBuf, database: &Database) -> Life {
        Life::begin_with(path, database, |builder| builder)
    }

    fn begin_with(
        path: PathBuf,
        database: &Database,
        set: impl FnOnce(Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>>,
    ) -> Life {
        let clock = ManualClock::new();
        let builder = Buffer::builder()
            .interval(INTERVAL)
            .jitter(Duration::ZERO)
            .partitions(2)
            .max_batch_keys(4)
            .seed(1)
            .retry(RetryPolicy::fixed(1_000, ms(100)))
            .journal(Journal::at(&path).window(WINDOW));
        let buffer =
            set(builder).start_inline(ExactlyOnce::new(database.clone()).prune_every(1), &clock).unwrap();
        Life { clock, buffer, path }
    }

    pub(crate) fn add(&self, key: u64, amount: i64) {
        self.buffer.add(&key, amount).unwrap();
    }

    pub(crate) fn recovered(&self) -> Recovered {
        self.buffer.recovered().unwrap()
    }

    /// What there is of a key, oldest first.
    pub(crate) fn generations(&self, key: u64) -> Vec<i64> {
        let peek = self.buffer.peek(&key);
        peek.in_flight.iter().map(|(data, _)| data).chain(&peek.pending).map(|data| data.0).collect()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        assert_eq!(self.buffer.stats().balance(), 0, "{:?}", self.buffer.stats());
    }

    /// Ends in order, with all the time it wants; what cannot be delivered stays.
    pub(crate) fn end(self) -> PathBuf {
        self.buffer.shutdown(Duration::from_secs(60)).unwrap();
        assert_eq!(self.buffer.stats().balance(), 0, "{:?}", self.buffer.stats());
        self.path
    }
}

pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
