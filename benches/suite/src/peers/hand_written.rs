//! What one would write by hand: 64 parking_lot mutexes over hashbrown tables, hashed once.

use std::hash::BuildHasher;

use crossbeam_utils::CachePadded;
use hashbrown::{Equivalent, HashTable};
use parking_lot::Mutex;
use write_behind::RandomState;

use super::{Inserter, Kept, Peer};
use crate::keys::Key;

type Table<K, V> = HashTable<(K, V)>;

pub(crate) struct HandWritten<K, V> {
    hasher: RandomState,
    shards: Vec<CachePadded<Mutex<Table<K, V>>>>,
}

impl<K: Key, V: Kept> HandWritten<K, V> {
    pub(crate) fn new() -> Self {
        let shards = (0..64).map(|_| CachePadded::new(Mutex::new(HashTable::new()))).collect();
        HandWritten { hasher: RandomState::default(), shards }
    }

    /// A flush: each table is swapped for an empty one, and what was in it goes to `sink`, so many at a
    /// time.
    pub(crate) fn drain(&self, batch: usize, mut sink: impl FnMut(&[(K, V)])) {
        let mut entries = Vec::with_capacity(batch);
        for shard in &self.shards {
            let table = std::mem::take(&mut *shard.lock());
            for entry in table {
                entries.push(entry);
                if entries.len() == batch {
                    sink(&entries);
                    entries = Vec::with_capacity(batch);
                }
            }
        }
        if !entries.is_empty() {
            sink(&entries);
        }
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: V::Item) {
        let hash = self.hasher.hash_one(key);
        // Not the top seven bits: the table tells its entries apart by those.
        let shard = (hash << 7 >> 58) as usize;
        let mut table = self.shards[shard].lock();
        match table.find_mut(hash, |entry| key.equivalent(&entry.0)) {
            Some(entry) => entry.1.absorb(item),
            None => {
                let rehash = |entry: &(K, V)| self.hasher.hash_one(entry.0.borrow());
                table.insert_unique(hash, (key.to_owned(), V::start(item)), rehash);
            }
        }
    }
}

impl<K: Key, V: Kept> Peer<K, V> for HandWritten<K, V> {
    fn name(&self) -> &'static str {
        "hand-written"
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, V> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        for shard in &self.shards {
            drop(std::mem::take(&mut *shard.lock()));
        }
    }
}
