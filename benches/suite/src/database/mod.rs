//! Adding sums to a hundred thousand rows of a database, in every way that one would think of. After
//! each turn the table is compared, row by row, with what should be in it.

mod postgres;
mod sqlite;

pub(crate) use self::postgres::given as given_postgres;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::keys::Key;
use crate::record::Recording;
use crate::scale::Scale;

/// What a row has that is there before.
const BEFORE: i64 = 1_000;

/// Sums by key, as a batch has them.
type Deltas = Vec<(String, i64)>;

pub(crate) fn run(scale: Scale) -> io::Result<()> {
    // A turn takes about a minute.
    let scale = Scale { turns: scale.turns.min(5), ..scale };
    let mut recording = Recording::new(scale, "database", "us per key", "single upserts");
    let workload = Workload::new(scale.million / 10);
    postgres::run(scale, &workload, &mut recording);
    sqlite::run(scale, &workload, &mut recording);
    recording.save()
}

/// What is in the table before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing.
    New,
    /// A row for each key.
    Existing,
}

impl State {
    const ALL: [(&'static str, State); 2] =
        [("keys that are new", State::New), ("keys that exist", State::Existing)];
}

/// How much a contestant writes, and in batches of how many.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// One in so many keys, so that whoever is slow doesn't hold up all others.
    one_in: usize,
    batch: usize,
}

/// The whole workload is one batch.
const AT_ONCE: usize = usize::MAX;

const fn all(batch: usize) -> Extent {
    Extent { one_in: 1, batch }
}

const fn a_fiftieth(batch: usize) -> Extent {
    Extent { one_in: 50, batch }
}

/// The sums in the order in which they come: none.
struct Workload {
    deltas: Deltas,
}

impl Workload {
    fn new(keys: usize) -> Self {
        let mut deltas: Deltas =
            (0..keys as u64).map(|number| (String::nth(number), 1 + number as i64 % 7)).collect();
        deltas.shuffle(&mut SmallRng::seed_from_u64(0));
        Workload { deltas }
    }

    fn part(&self, extent: Extent) -> &[(String, i64)] {
        &self.deltas[..self.deltas.len() / extent.one_in]
    }

    /// Sorted by key each, as a sink does it to avoid deadlocks with others.
    fn batches(&self, extent: Extent) -> Vec<Deltas> {
        let mut batches: Vec<Deltas> = self.part(extent).chunks(extent.batch).map(<[_]>::to_vec).collect();
        batches.iter_mut().for_each(|batch| batch.sort_unstable());
        batches
    }

    /// What is in the table to begin with.
    fn rows_before(&self, state: State) -> Deltas {
        match state {
            State::New => Vec::new(),
            State::Existing => self.deltas.iter().map(|(key, _)| (key.clone(), BEFORE)).collect(),
        }
    }

    /// Panics if the table lacks anything or has too much.
    fn check(&self, who: &str, state: State, extent: Extent, rows: impl IntoIterator<Item = (String, i64)>) {
        let mut expected = BTreeMap::from_iter(self.rows_before(state));
        for (key, value) in self.part(extent) {
            *expected.entry(key.clone()).or_default() += value;
        }
        let found = BTreeMap::from_iter(rows);
        assert!(found == expected, "{who}: the sums in the table are wrong");
    }

    fn micros_per_key(&self, elapsed: Duration, extent: Extent) -> f64 {
        elapsed.as_secs_f64() * 1e6 / self.part(extent).len() as f64
    }
}
