use write_behind::RandomState;

use super::{Inserter, Kept, Peer};
use crate::keys::Key;

pub(crate) struct DashMap<K, V>(dashmap::DashMap<K, V, RandomState>);

impl<K: Key, V: Kept> DashMap<K, V> {
    pub(crate) fn new() -> Self {
        DashMap(dashmap::DashMap::default())
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: V::Item) {
        if !K::FREE
            && let Some(mut kept) = self.0.get_mut(key)
        {
            return kept.absorb(item);
        }
        let entry = self.0.entry(key.to_owned());
        entry.and_modify(|kept| kept.absorb(item)).or_insert_with(|| V::start(item));
    }
}

impl<K: Key, V: Kept> Peer<K, V> for DashMap<K, V> {
    fn name(&self) -> &'static str {
        "dashmap"
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, V> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        self.0.clear();
        self.0.shrink_to_fit();
    }
}
