use scc::hash_map::Entry;
use write_behind::RandomState;

use super::{Inserter, Kept, Peer};
use crate::keys::Key;

pub(crate) struct Scc<K, V>(scc::HashMap<K, V, RandomState>);

impl<K: Key, V: Kept> Scc<K, V> {
    pub(crate) fn new() -> Self {
        Scc(scc::HashMap::default())
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: V::Item) {
        if !K::FREE && self.0.update_sync(key, |_, kept| kept.absorb(item)).is_some() {
            return;
        }
        match self.0.entry_sync(key.to_owned()) {
            Entry::Occupied(mut entry) => entry.get_mut().absorb(item),
            Entry::Vacant(entry) => drop(entry.insert_entry(V::start(item))),
        }
    }
}

impl<K: Key, V: Kept> Peer<K, V> for Scc<K, V> {
    fn name(&self) -> &'static str {
        "scc"
    }

    /// With more threads than processors its lock goes from one waiting thread to the next, which takes a
    /// context switch for each insert.
    fn patience(&self, threads: usize) -> usize {
        if threads > 2 { 50 } else { 1 }
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, V> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        self.0.clear_sync();
    }
}
