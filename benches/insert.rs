//! What one insert into a `SummingBuffer` costs where the key has data already, beside what one
//! would write by hand: 64 parking_lot mutexes over hashbrown tables, hashed once.
//!
//! Both do the same work in the same run: `total += 1` for the same sequence of `u64` keys, on one
//! hot key, 1 000 keys and a million (uniform), from one and from two threads. Every key is in the
//! table before measuring starts and the interval is so long that nothing is flushed meanwhile.
//! Criterion reports the time of one round of [`ROUND`] inserts per thread; a round is long enough
//! to visit most of a million keys, so that the caches see all of them. Criterion measures one after
//! the other; because a shared machine does not keep its speed that long, a table of ratios follows in
//! which the two take turns round by round, and another of `insert_many` beside as many single inserts.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use crossbeam_utils::CachePadded;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use write_behind::{Buffer, DataBuffer, RandomState, Sum, SummingBuffer};

/// Inserts per thread and round.
const ROUND: usize = 1_000_000;
const THREADS: [usize; 2] = [1, 2];
/// Rounds in which the peers take turns.
const TURNS: usize = 31;
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
    type Error = std::convert::Infallible;

    fn handle_flush(&self, _key: &u64, _total: &Sum<i64>) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct WriteBehind(SummingBuffer<u64, i64>);

impl WriteBehind {
    fn new() -> Self {
        let builder = Buffer::builder().interval(Duration::from_secs(24 * 60 * 60)).max_keys(2_000_000);
        WriteBehind(builder.start(Nowhere).expect("the settings are valid"))
    }
}

impl Counters for WriteBehind {
    #[inline(never)]
    fn add(&self, key: u64, amount: i64) {
        self.0.add(&key, amount).expect("there is room");
    }
}

/// The time that `rounds` rounds take when all threads begin together.
fn time(counters: &dyn Counters, keys: &[Vec<u64>], rounds: u64) -> Duration {
    let gate = Barrier::new(keys.len() + 1);
    std::thread::scope(|scope| {
        for keys in keys {
            let gate = &gate;
            scope.spawn(move || {
                gate.wait();
                for _ in 0..rounds {
                    keys.iter().for_each(|&key| counters.add(black_box(key), 1));
                }
                gate.wait();
            });
        }
        gate.wait();
        let start = Instant::now();
        gate.wait();
        start.elapsed()
    })
}

/// Both peers with every key of the set in place, the hand-written one first.
fn peers(different: u64) -> [(&'static str, Box<dyn Counters>); 2] {
    let peers: [(_, Box<dyn Counters>); 2] =
        [("hand_written", Box::new(HandWritten::new())), ("write_behind", Box::new(WriteBehind::new()))];
    for (_, counters) in &peers {
        (0..different).for_each(|key| counters.add(key, 1));
    }
    peers
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
        let peers = peers(different);
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

/// The peers take turns, and turns in being first; prints each one's median per insert, and the median of the ratios of the
/// rounds that stand next to each other.
fn print_ratios() {
    println!("{:<10} {:>7} {:>13} {:>13} {:>7}", "keys", "threads", "hand-written", "write-behind", "ratio");
    for (name, different) in KEY_SETS {
        let [(_, hand_written), (_, write_behind)] = peers(different);
        for threads in THREADS {
            let keys = rounds_of_keys(different, threads);
            let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..TURNS {
                let once = |counters: &dyn Counters| time(counters, &keys, 1).as_secs_f64();
                let buffered_first = (turn % 2 == 0).then(|| once(write_behind.as_ref()));
                let by_hand = once(hand_written.as_ref());
                let buffered = buffered_first.unwrap_or_else(|| once(write_behind.as_ref()));
                theirs.push(by_hand);
                ours.push(buffered);
                ratios.push(buffered / by_hand);
            }
            let nanos = |times: &mut Vec<f64>| median(times) * 1e9 / ROUND as f64;
            let (by_hand, buffered, ratio) = (nanos(&mut theirs), nanos(&mut ours), median(&mut ratios));
            println!("{name:<10} {threads:>7} {by_hand:>10.1} ns {buffered:>10.1} ns {ratio:>7.2}");
        }
    }
}

/// `insert_many` and as many single inserts take turns on one thread, over the same keys of the same
/// buffer; prints each one's median per item, and how many times as long the single ones take.
fn print_batches() {
    println!("\n{:<10} {:>7} {:>13} {:>13} {:>7}", "keys", "batch", "insert", "insert_many", "times");
    for (name, keys) in [("hot_key", vec![0; ROUND]), ("zipf_1m", zipf(1_000_000))] {
        let counters = WriteBehind::new();
        (0..1_000_000).for_each(|key| counters.add(key, 1));
        let WriteBehind(buffer) = counters;
        for batch in [100, 10_000] {
            let time = |insert: &dyn Fn(&[u64])| {
                let start = Instant::now();
                keys.chunks(batch).for_each(insert);
                start.elapsed().as_secs_f64()
            };
            let single = |batch: &[u64]| {
                batch.iter().for_each(|&key| buffer.insert(black_box(key), 1).expect("there is room"));
            };
            let many = |batch: &[u64]| {
                buffer.insert_many(batch.iter().map(|&key| (black_box(key), 1))).expect("there is room");
            };
            let (mut singly, mut together, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..TURNS {
                let many_first = (turn % 2 == 0).then(|| time(&many));
                singly.push(time(&single));
                together.push(many_first.unwrap_or_else(|| time(&many)));
                ratios.push(singly[turn] / together[turn]);
            }
            let nanos = |times: &mut Vec<f64>| median(times) * 1e9 / ROUND as f64;
            let (singly, together, ratio) = (nanos(&mut singly), nanos(&mut together), median(&mut ratios));
            println!("{name:<10} {batch:>7} {singly:>10.1} ns {together:>10.1} ns {ratio:>7.2}");
        }
    }
}

/// A round of keys of which the n-th is drawn in proportion to 1/n.
fn zipf(different: u64) -> Vec<u64> {
    let mut random = SmallRng::seed_from_u64(0);
    (0..ROUND).map(|_| (different as f64).powf(random.random()) as u64 - 1).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    insert_existing_key(&mut criterion);
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios();
        print_batches();
    }
}
