//! Which keys are inserted.

use std::borrow::{Borrow, ToOwned};
use std::hash::Hash;

use hashbrown::Equivalent;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use write_behind::ToKey;

/// Keys as users have them: numbers, and texts that are looked up borrowed.
pub(crate) trait Key: Hash + Eq + Clone + Send + Sync + Borrow<Self::Borrowed> + 'static {
    type Borrowed: ?Sized + Hash + Eq + Sync + ToOwned<Owned = Self> + Equivalent<Self> + ToKey<Self>;

    const NAME: &'static str;
    /// Whether an owned key costs nothing, so that a map's `entry` may be given one.
    const FREE: bool;

    fn nth(number: u64) -> Self;
}

impl Key for u64 {
    type Borrowed = u64;

    const NAME: &'static str = "u64";
    const FREE: bool = true;

    fn nth(number: u64) -> Self {
        number
    }
}

/// Sixteen bytes each.
impl Key for String {
    type Borrowed = str;

    const NAME: &'static str = "String";
    const FREE: bool = false;

    fn nth(number: u64) -> Self {
        format!("{number:016x}")
    }
}

/// How keys are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Always the same one.
    Hot,
    Uniform(usize),
    /// The n-th in proportion to 1/n.
    Zipf(usize),
}

impl Spread {
    /// Those of most comparisons; `million` is what stands for a million.
    pub(crate) fn all(million: usize) -> [(&'static str, Spread); 4] {
        [
            ("one hot key", Spread::Hot),
            ("1 000 keys", Spread::Uniform(1_000.min(million))),
            ("Zipf over a million", Spread::Zipf(million)),
            ("uniform million", Spread::Uniform(million)),
        ]
    }

    pub(crate) fn different(self) -> usize {
        match self {
            Spread::Hot => 1,
            Spread::Uniform(different) | Spread::Zipf(different) => different,
        }
    }

    /// So many keys; the same for the same thread.
    pub(crate) fn draw<K: Key>(self, count: usize, thread: usize) -> Vec<K> {
        let mut random = SmallRng::seed_from_u64(thread as u64);
        let one = |_| {
            K::nth(match self {
                Spread::Hot => 0,
                Spread::Uniform(different) => random.random_range(0..different as u64),
                Spread::Zipf(different) => (different as f64).powf(random.random()) as u64 - 1,
            })
        };
        (0..count).map(one).collect()
    }
}
