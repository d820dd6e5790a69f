//! A cache is no buffer, but it can add up: per key one at a time, and an eviction listener could write
//! behind.

use moka::ops::compute::Op;
use moka::sync::Cache;
use write_behind::RandomState;

use super::{Inserter, Peer};
use crate::keys::Key;

pub(crate) struct Moka<K>(Cache<K, i64, RandomState>);

impl<K: Key> Moka<K> {
    pub(crate) fn new() -> Self {
        Moka(Cache::builder().build_with_hasher(RandomState::default()))
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: i64) {
        self.0
            .entry_by_ref(key)
            .and_compute_with(|kept| Op::Put(kept.map_or(item, |entry| entry.into_value() + item)));
    }
}

impl<K: Key> Peer<K, i64> for Moka<K> {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn patience(&self, _threads: usize) -> usize {
        20
    }

    fn bears(&self, threads: usize) -> bool {
        threads <= 2
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, i64> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        self.0.invalidate_all();
        self.0.run_pending_tasks();
    }
}
