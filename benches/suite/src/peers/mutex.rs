//! One map, one lock.

use std::collections::HashMap;

use parking_lot::Mutex;
use write_behind::RandomState;

use super::{Inserter, Kept, Peer};
use crate::keys::Key;

pub(crate) struct SingleMutex<K, V>(Mutex<HashMap<K, V, RandomState>>);

impl<K: Key, V: Kept> SingleMutex<K, V> {
    pub(crate) fn new() -> Self {
        SingleMutex(Mutex::new(HashMap::default()))
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: V::Item) {
        add(&mut self.0.lock(), key, item);
    }
}

/// Where an owned key is free it is given to `entry`, which hashes once also where the key is new.
#[inline(always)]
pub(super) fn add<K: Key, V: Kept>(map: &mut HashMap<K, V, RandomState>, key: &K::Borrowed, item: V::Item) {
    if K::FREE {
        map.entry(key.to_owned()).and_modify(|kept| kept.absorb(item)).or_insert_with(|| V::start(item));
    } else if let Some(kept) = map.get_mut(key) {
        kept.absorb(item);
    } else {
        map.insert(key.to_owned(), V::start(item));
    }
}

impl<K: Key, V: Kept> Peer<K, V> for SingleMutex<K, V> {
    fn name(&self) -> &'static str {
        "Mutex<HashMap>"
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, V> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        drop(std::mem::take(&mut *self.0.lock()));
    }
}
