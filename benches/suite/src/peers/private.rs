//! A map of its own for each thread, without any lock: the limit. Not a peer: nobody could flush it.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use write_behind::RandomState;

use super::{Inserter, Kept, Peer, mutex};
use crate::keys::Key;

/// For so many threads.
const MAPS: usize = 2;

pub(crate) struct Private<K, V> {
    /// Locked once for all inserts of a measurement.
    maps: Vec<CachePadded<Mutex<HashMap<K, V, RandomState>>>>,
}

impl<K: Key, V: Kept> Private<K, V> {
    pub(crate) fn new() -> Self {
        Private { maps: (0..MAPS).map(|_| CachePadded::default()).collect() }
    }

    /// Goes through all entries and leaves the maps empty.
    pub(crate) fn drain(&self, mut sink: impl FnMut((K, V))) {
        for map in &self.maps {
            std::mem::take(&mut *map.lock()).into_iter().for_each(&mut sink);
        }
    }
}

#[inline(never)]
fn add<K: Key, V: Kept>(map: &mut HashMap<K, V, RandomState>, key: &K::Borrowed, item: V::Item) {
    mutex::add(map, key, item);
}

impl<K: Key, V: Kept> Peer<K, V> for Private<K, V> {
    fn name(&self) -> &'static str {
        "private map"
    }

    fn bears(&self, threads: usize) -> bool {
        threads <= MAPS
    }

    fn maps(&self) -> usize {
        MAPS
    }

    fn inserter(&self, thread: usize) -> Inserter<'_, K, V> {
        let mut map = self.maps[thread].lock();
        Box::new(move |key, item| add(&mut map, key, item))
    }

    fn empty(&self) {
        for map in &self.maps {
            drop(std::mem::take(&mut *map.lock()));
        }
    }
}
