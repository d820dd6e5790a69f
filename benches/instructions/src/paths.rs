//! The paths that are counted.

use std::hint::black_box;
use std::time::Duration;

use write_behind::{Aggregate, BatchDataBuffer, Buffer, FlushBatch, FlushError, Key, SummingBuffer};

const KEYS: u64 = 1_000;

/// How many items a bulk insert has.
const BULK: u64 = 1_000;

/// Runs so many operations.
type Run = fn(u64);

/// The name of each, what it runs, and how many operations are enough.
pub(crate) const PATHS: [(&str, Run, u64); 8] = [
    ("insert, u64 by value", by_value, 50_000),
    ("insert, u64 by reference", by_reference, 50_000),
    ("insert, String borrowed", borrowed, 50_000),
    ("insert, list of u64", list, 50_000),
    ("insert, new u64 key", new_key, 50_000),
    ("insert_many, one key, an item", many_hot, 50_000),
    ("insert_many, 1 000 keys, an item", many_uniform, 50_000),
    ("insert, new u64 key, and its flush", flush, 50_000),
];

/// Takes whole batches.
struct Nowhere;

impl<K: Key, V: Aggregate> BatchDataBuffer<K, V> for Nowhere {
    fn handle_flush_batch(&self, _: &FlushBatch<K, V>) -> Result<(), FlushError> {
        Ok(())
    }
}

fn start<K: Key, V: Aggregate>() -> Buffer<K, V> {
    let builder = Buffer::builder().interval(Duration::from_secs(24 * 60 * 60)).max_keys(1_000_000);
    builder.max_weight(100_000_000).flush_concurrency(1).start(Nowhere).expect("it starts")
}

/// Has each of the keys in the table, and then inserts into one after the other.
fn each<K>(keys: &[K], operations: u64, mut insert: impl FnMut(&K)) {
    keys.iter().for_each(&mut insert);
    keys.iter().cycle().take(operations as usize).for_each(|key| insert(black_box(key)));
}

fn numbers() -> Vec<u64> {
    (0..KEYS).collect()
}

fn by_value(operations: u64) {
    #[inline(never)]
    fn insert(counters: &SummingBuffer<u64, i64>, key: u64) {
        counters.insert(key, 1).expect("there is room");
    }
    let counters = start();
    each(&numbers(), operations, |key| insert(&counters, *key));
}

fn by_reference(operations: u64) {
    #[inline(never)]
    fn insert(counters: &SummingBuffer<u64, i64>, key: &u64) {
        counters.add(key, 1).expect("there is room");
    }
    let counters = start();
    each(&numbers(), operations, |key| insert(&counters, key));
}

fn borrowed(operations: u64) {
    #[inline(never)]
    fn insert(counters: &SummingBuffer<String, i64>, key: &str) {
        counters.add(key, 1).expect("there is room");
    }
    let counters = start();
    let keys: Vec<String> = (0..KEYS).map(|key| format!("page-{key:08}")).collect();
    each(&keys, operations, |key| insert(&counters, key));
}

fn list(operations: u64) {
    #[inline(never)]
    fn insert(lists: &Buffer<u64, Vec<u64>>, key: u64) {
        lists.insert(key, key).expect("there is room");
    }
    let lists = start();
    each(&numbers(), operations, |key| insert(&lists, *key));
}

fn new_key(operations: u64) {
    #[inline(never)]
    fn insert(counters: &SummingBuffer<u64, i64>, key: u64) {
        counters.insert(key, 1).expect("there is room");
    }
    let counters = start();
    (0..operations).for_each(|key| insert(&counters, black_box(key)));
    // Else it would flush.
    std::mem::forget(counters);
}

fn many(operations: u64, key: impl Fn(u64) -> u64) {
    let counters: SummingBuffer<u64, i64> = start();
    numbers().into_iter().for_each(|key| counters.insert(key, 1).expect("there is room"));
    for first in (0..operations).step_by(BULK as usize) {
        let items = (first..first + BULK).map(|item| (key(black_box(item)), 1));
        counters.insert_many(items).expect("there is room");
    }
}

fn many_hot(operations: u64) {
    many(operations, |_| 7);
}

fn many_uniform(operations: u64) {
    // Far apart, as keys come.
    many(operations, |item| item.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS);
}

/// New keys, and all of them flushed: what is more than for new keys is the flush.
fn flush(operations: u64) {
    let counters: SummingBuffer<u64, i64> = start();
    (0..operations).for_each(|key| counters.insert(key, 1).expect("there is room"));
    counters.flush_all_and_wait(Duration::from_secs(600)).expect("it takes everything");
}
