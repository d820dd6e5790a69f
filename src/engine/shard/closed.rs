use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A generation that can absorb no more and waits to be flushed before its key's pending one.
#[derive(Debug)]
pub(super) struct Generation<V> {
    pub(super) data: V,
    pub(super) count: u32,
}

/// The closed generations of a partition, oldest first per key. A key that has any also has a
/// pending generation, whose timer stands for them all. Rare: sums that would overflow.
#[derive(Debug)]
pub(super) struct Closed<K, V> {
    keys: HashMap<K, VecDeque<Generation<V>>>,
}

impl<K, V> Default for Closed<K, V> {
    fn default() -> Self {
        Closed { keys: HashMap::new() }
    }
}

impl<K, V> Closed<K, V> {
    /// How many there are of all keys.
    pub(super) fn len(&self) -> usize {
        self.keys.values().map(VecDeque::len).sum()
    }
}

impl<K: Hash + Eq + Clone, V> Closed<K, V> {
    pub(super) fn contains(&self, key: &K) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(key)
    }

    pub(super) fn len_of(&self, key: &K) -> u32 {
        self.of(key).count() as u32
    }

    pub(super) fn of(&self, key: &K) -> impl Iterator<Item = &Generation<V>> {
        let of_key = if self.keys.is_empty() { None } else { self.keys.get(key) };
        of_key.into_iter().flatten()
    }

    pub(super) fn push_back(&mut self, key: &K, generation: Generation<V>) {
        self.keys.entry(key.clone()).or_default().push_back(generation);
    }

    pub(super) fn push_front(&mut self, key: &K, generation: Generation<V>) {
        self.keys.entry(key.clone()).or_default().push_front(generation);
    }

    pub(super) fn pop_front(&mut self, key: &K) -> Option<Generation<V>> {
        if self.keys.is_empty() {
            return None;
        }
        let of_key = self.keys.get_mut(key)?;
        let oldest = of_key.pop_front();
        if of_key.is_empty() {
            self.keys.remove(key);
        }
        oldest
    }
}
