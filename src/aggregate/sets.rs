use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash};

use super::Aggregate;

/// Keeps every different item once: unique visitors. Weighs how many there are. Absorbing is O(1).
impl<T, S> Aggregate for HashSet<T, S>
where
    T: Eq + Hash + Send + Sync + 'static,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    type Item = T;

    fn start(item: T) -> Self {
        HashSet::from_iter([item])
    }

    fn absorb(&mut self, item: T) {
        self.insert(item);
    }

    fn displace(&mut self, item: T) -> Option<T> {
        self.replace(item)
    }

    fn merge(&mut self, later: Self) {
        self.extend(later);
    }

    fn weight(&self) -> u64 {
        self.len() as u64
    }

    fn growth(&self, _item: &T) -> u64 {
        1
    }
}

/// Keeps every different item once, in their order. Weighs how many there are. Absorbing is O(log n).
impl<T: Ord + Send + Sync + 'static> Aggregate for BTreeSet<T> {
    type Item = T;

    fn start(item: T) -> Self {
        BTreeSet::from([item])
    }

    fn absorb(&mut self, item: T) {
        self.insert(item);
    }

    fn displace(&mut self, item: T) -> Option<T> {
        self.replace(item)
    }

    fn merge(&mut self, mut later: Self) {
        self.append(&mut later);
    }

    fn weight(&self) -> u64 {
        self.len() as u64
    }

    fn growth(&self, _item: &T) -> u64 {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_different_ones<A: Aggregate<Item = u8> + IntoIterator<Item = u8>>() {
        let mut set = A::start(3);
        set.absorb(1);
        assert_eq!((set.displace(3), set.displace(2)), (Some(3), None));
        let mut later = A::start(4);
        later.absorb(1);
        set.merge(later);
        assert_eq!((set.weight(), set.growth(&9)), (4, 1));
        let mut items: Vec<u8> = set.into_iter().collect();
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4]);
    }

    #[test]
    fn sets_keep_every_different_item_once_and_weigh_their_size() {
        keeps_different_ones::<HashSet<u8>>();
        keeps_different_ones::<BTreeSet<u8>>();
    }
}
