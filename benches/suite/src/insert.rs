//! One insert, where the key has data already and where it is new.

use std::hint::black_box;
use std::io;

use crate::keys::{Key, Spread};
use crate::peers::{DashMap, Event, HandWritten, Kept, Moka, Peer, Private, Scc, SingleMutex, WriteBehind};
use crate::record::Recording;
use crate::scale::Scale;
use crate::turns::{take_turns, time_threads};

const THREADS: [usize; 3] = [1, 2, 8];
const UNIT: &str = "ns per insert and thread";
const BASE: &str = "hand-written";

type Peers<K, V> = Vec<Box<dyn Peer<K, V>>>;

/// Sums: `total += 1`, for keys that have a total.
pub(crate) fn sums(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "insert", UNIT, BASE);
    sums_of::<u64>(scale, &mut recording);
    sums_of::<String>(scale, &mut recording);
    recording.save()
}

fn sums_of<K: Key>(scale: Scale, recording: &mut Recording) {
    for (spread_name, spread) in Spread::all(scale.million) {
        let mut peers = peers::<K, i64>();
        if spread.different() <= 1_000 {
            // It takes seconds to fill.
            peers.push(Box::new(Moka::new()));
        }
        peers.iter().for_each(|peer| fill(peer.as_ref(), spread));
        for threads in THREADS {
            let keys = draw::<K>(scale, spread, threads);
            let peers: Vec<_> = peers.iter().filter(|peer| peer.bears(threads)).collect();
            let samples = take_turns(scale.turns, &peers, |peer| time(peer.as_ref(), &keys));
            let names = peers.iter().map(|peer| peer.name());
            let case = [K::NAME, spread_name, &threads.to_string()];
            recording.add(&case, names.zip(samples).collect());
        }
    }
}

/// Lists: `list.push(item)`, for keys that have a list. Before each turn the lists are taken out and
/// begun anew with one item each, as after a flush.
pub(crate) fn lists(scale: Scale) -> io::Result<()> {
    // A turn takes about a minute, most of it for beginning anew.
    let scale = Scale { turns: scale.turns.min(5), ..scale };
    let mut recording = Recording::new(scale, "lists", UNIT, BASE);
    lists_of::<Vec<u64>>(scale, &mut recording);
    lists_of::<Vec<Event>>(scale, &mut recording);
    recording.save()
}

fn lists_of<V: Kept>(scale: Scale, recording: &mut Recording) {
    for (spread_name, spread) in Spread::all(scale.million) {
        let peers = peers::<u64, V>();
        for threads in THREADS {
            let keys = draw::<u64>(scale, spread, threads);
            let peers: Vec<_> = peers.iter().filter(|peer| peer.bears(threads)).collect();
            let samples = take_turns(scale.turns, &peers, |peer| {
                fill(peer.as_ref(), spread);
                let nanos = time(peer.as_ref(), &keys);
                peer.empty();
                nanos
            });
            let names = peers.iter().map(|peer| peer.name());
            let case = [V::NAME, spread_name, &threads.to_string()];
            recording.add(&case, names.zip(samples).collect());
        }
    }
}

/// New keys: a million of them into what is empty and has grown before.
pub(crate) fn fresh(scale: Scale) -> io::Result<()> {
    let mut recording = Recording::new(scale, "fresh", UNIT, BASE);
    fresh_of::<u64>(scale, &mut recording);
    fresh_of::<String>(scale, &mut recording);
    recording.save()
}

fn fresh_of<K: Key>(scale: Scale, recording: &mut Recording) {
    let peers = peers::<K, i64>();
    for threads in [1, 2] {
        let share = scale.million / threads;
        let keys: Vec<Vec<K>> = (0..threads)
            .map(|thread| (0..share).map(|place| K::nth((thread * share + place) as u64)).collect())
            .collect();
        let samples = take_turns(scale.turns, &peers, |peer| {
            let nanos = time(peer.as_ref(), &keys);
            peer.empty();
            nanos
        });
        let names = peers.iter().map(|peer| peer.name());
        recording.add(&[K::NAME, "a million new keys", &threads.to_string()], names.zip(samples).collect());
    }
}

fn peers<K: Key, V: Kept>() -> Peers<K, V> {
    vec![
        Box::new(Private::new()),
        Box::new(HandWritten::new()),
        Box::new(WriteBehind::new()),
        Box::new(DashMap::new()),
        Box::new(Scc::new()),
        Box::new(SingleMutex::new()),
    ]
}

/// Keys for each thread: a million, or with many threads a few millions in all.
fn draw<K: Key>(scale: Scale, spread: Spread, threads: usize) -> Vec<Vec<K>> {
    let count = scale.million.min(2 * scale.million / threads);
    (0..threads).map(|thread| spread.draw(count, thread)).collect()
}

/// Every key, once; each thread's map, where each has its own.
fn fill<K: Key, V: Kept>(peer: &dyn Peer<K, V>, spread: Spread) {
    for thread in 0..peer.maps() {
        let mut insert = peer.inserter(thread);
        (0..spread.different() as u64).for_each(|number| insert(K::nth(number).borrow(), V::item(number)));
    }
}

/// Nanoseconds per insert and thread.
fn time<K: Key, V: Kept>(peer: &dyn Peer<K, V>, keys: &[Vec<K>]) -> f64 {
    let count = keys[0].len().div_ceil(peer.patience(keys.len()));
    let elapsed = time_threads(keys.len(), |thread| {
        let mut insert = peer.inserter(thread);
        for (number, key) in keys[thread][..count].iter().enumerate() {
            insert(black_box(key.borrow()), V::item(number as u64));
        }
    });
    elapsed.as_secs_f64() * 1e9 / count as f64
}
