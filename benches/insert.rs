//! What one insert into a `SummingBuffer` costs where the key has data already, beside what one
//! would write by hand: 64 parking_lot mutexes over hashbrown tables, hashed once.
//!
//! All do the same work: `total += 1` for the same sequence of `u64` keys, on one hot key, 1 000 keys and
//! a million (uniform), from one and from two threads, into a buffer with a blocking and one with an
//! async sink. Every key is in the table before measuring starts and the interval is so long that
//! nothing is flushed meanwhile. A round is long enough to visit most of a million keys, so that the
//! caches see all of them. Criterion measures one after the other, which is what one wants for following
//! a change; for ratios between peers on a machine that does not keep its speed see the suite.

#[path = "support/turns.rs"]
#[allow(dead_code, reason = "the suite needs more of it")]
mod turns;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use crossbeam_utils::CachePadded;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use write_behind::{
    AsyncDataBuffer, Buffer, Builder, DataBuffer, FlushContext, FlushError, RandomState, Sum, SummingBuffer,
};

/// Inserts per thread and round.
const ROUND: usize = 1_000_000;
const THREADS: [usize; 2] = [1, 2];
/// Name, and how many different keys.
const KEY_SETS: [(&str, u64); 3] = [("hot_key", 1), ("1k_keys", 1_000), ("1m_keys", 1_000_000)];

trait Counters: Sync {
    fn add(&self, key: u64, amount: i64);
}

type Table = HashTable<(u64, i64)>;

/// The peer.
struct HandWritten {
    hasher: RandomState,
    shards: Vec<CachePadded<Mutex<Table>>>,
}

impl HandWritten {
    fn new() -> Self {
        let shards = (0..64).map(|_| CachePadded::new(Mutex::new(HashTable::new()))).collect();
        HandWritten { hasher: RandomState::default(), shards }
    }
}

impl Counters for HandWritten {
    #[inline(never)]
    fn add(&self, key: u64, amount: i64) {
        let hash = self.hasher.hash_one(key);
        // Not the top seven bits: the table tells its entries apart by those.
        let shard = (hash << 7 >> 58) as usize;
        let mut table = self.shards[shard].lock();
        match table.entry(hash, |entry| entry.0 == key, |entry| self.hasher.hash_one(entry.0)) {
            Entry::Occupied(mut entry) => entry.get_mut().1 += amount,
            Entry::Vacant(entry) => drop(entry.insert((key, amount))),
        }
    }
}

struct Nowhere;

impl DataBuffer<u64, Sum<i64>> for Nowhere {
    fn handle_flush(&self, _key: &u64, _total: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        Ok(())
    }
}

struct WriteBehind(SummingBuffer<u64, i64>);

impl AsyncDataBuffer<u64, Sum<i64>> for Nowhere {
    async fn handle_flush(&self, _key: &u64, _total: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
        Ok(())
    }
}

impl WriteBehind {
    fn new() -> Self {
        WriteBehind(builder().start(Nowhere).expect("the settings are valid"))
    }

    /// On a runtime that nothing else uses.
    fn with_async_sink() -> Self {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts"));
        let builder = builder().runtime(runtime.handle().clone());
        WriteBehind(builder.start_async(Nowhere).expect("the settings are valid"))
    }
}

fn builder() -> Builder<u64, Sum<i64>> {
    Buffer::builder().interval(Duration::from_secs(24 * 60 * 60)).max_keys(2_000_000)
}

impl Counters for WriteBehind {
    #[inline(never)]
    fn add(&self, key: u64, amount: i64) {
        self.0.add(&key, amount).expect("there is room");
    }
}

/// The time that `rounds` rounds take, from the first thread's beginning to the last one's end.
fn time(counters: &dyn Counters, keys: &[Vec<u64>], rounds: u64) -> Duration {
    turns::time_threads(keys.len(), |thread| {
        for _ in 0..rounds {
            keys[thread].iter().for_each(|&key| counters.add(black_box(key), 1));
        }
    })
}

type Peer = (&'static str, fn() -> Box<dyn Counters>);

const HAND_WRITTEN: Peer = ("hand_written", || Box::new(HandWritten::new()));
const BLOCKING: Peer = ("write_behind", || Box::new(WriteBehind::new()));
const ASYNC: Peer = ("async_sink", || Box::new(WriteBehind::with_async_sink()));

/// Peers with every key of the set in place.
fn ready<const N: usize>(peers: [Peer; N], different: u64) -> [(&'static str, Box<dyn Counters>); N] {
    peers.map(|(name, make)| {
        let counters = make();
        (0..different).for_each(|key| counters.add(key, 1));
        (name, counters)
    })
}

/// A round of keys for each thread.
fn rounds_of_keys(different: u64, threads: usize) -> Vec<Vec<u64>> {
    let round = |thread| {
        let mut random = SmallRng::seed_from_u64(thread);
        (0..ROUND).map(|_| random.random_range(0..different)).collect()
    };
    (0..threads as u64).map(round).collect()
}

fn insert_existing_key(criterion: &mut Criterion) {
    for (name, different) in KEY_SETS {
        let peers = ready([HAND_WRITTEN, BLOCKING, ASYNC], different);
        for threads in THREADS {
            let keys = rounds_of_keys(different, threads);
            let mut group = criterion.benchmark_group(format!("insert_existing/{name}"));
            group.throughput(Throughput::Elements(ROUND as u64));
            for (peer, counters) in &peers {
                let id = BenchmarkId::new(*peer, format!("{threads}_threads"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|rounds| time(counters.as_ref(), &keys, rounds));
                });
            }
            group.finish();
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    insert_existing_key(&mut criterion);
    criterion.final_summary();
}
