use std::fmt;
use std::marker::PhantomData;
use std::mem::replace;

use super::{Aggregate, words};

/// Counts items and keeps none of them. Weighs 1.
///
/// `Count<I>` counts items of type `I`, so that it can stand in a tuple beside aggregates that look
/// at them; on its own, `Count` is fed `()`. It saturates at `u64::MAX`.
///
/// ```
/// use write_behind::{Aggregate, Count, Max};
///
/// let mut slow = <(Count<u64>, Max<u64>)>::start(120);
/// slow.absorb(340);
/// assert_eq!((slow.0.value(), slow.1), (2, Max(340)));
/// ```
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "u64", into = "u64")
)]
pub struct Count<I = ()> {
    items: u64,
    item: PhantomData<fn(I)>,
}

impl<I> From<u64> for Count<I> {
    fn from(items: u64) -> Self {
        Count { items, item: PhantomData }
    }
}

impl<I> From<Count<I>> for u64 {
    fn from(count: Count<I>) -> u64 {
        count.items
    }
}

impl<I> Count<I> {
    /// How many items were counted.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.items
    }
}

impl<I> Clone for Count<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Count<I> {}

impl<I> PartialEq for Count<I> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl<I> Eq for Count<I> {}

impl<I> fmt::Debug for Count<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Count").field(&self.items).finish()
    }
}

impl<I: Send + 'static> Aggregate for Count<I> {
    type Item = I;

    fn start(_item: I) -> Self {
        Count { items: 1, item: PhantomData }
    }

    fn absorb(&mut self, _item: I) {
        self.items = self.items.saturating_add(1);
    }

    fn merge(&mut self, later: Self) {
        self.items = self.items.saturating_add(later.items);
    }

    #[inline]
    fn lane_words() -> usize {
        1
    }

    #[inline]
    fn to_words(&self, words: &mut [u64]) {
        words[0] = self.items;
    }

    #[inline]
    fn from_words(words: &[u64]) -> Option<Self> {
        Some(Count::from(words[0]))
    }
}

/// Keeps the smallest item; of equal ones the first. Weighs 1. An item that cannot be compared (a
/// NaN) never replaces one that is there.
///
/// ```
/// use write_behind::{Aggregate, Min};
///
/// let mut coldest = Min::start(3.5);
/// coldest.absorb(-2.0);
/// coldest.absorb(f64::NAN);
/// assert_eq!(coldest, Min(-2.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Min<T>(pub T);

impl<T: PartialOrd + Send + Sync + 'static> Aggregate for Min<T> {
    type Item = T;

    fn start(item: T) -> Self {
        Min(item)
    }

    fn absorb(&mut self, item: T) {
        drop(self.displace(item));
    }

    fn displace(&mut self, item: T) -> Option<T> {
        Some(if item < self.0 { replace(&mut self.0, item) } else { item })
    }

    fn merge(&mut self, later: Self) {
        self.absorb(later.0);
    }

    #[inline]
    fn lane_words() -> usize {
        words::words_of_ordered::<T>()
    }

    #[inline]
    fn to_words(&self, words: &mut [u64]) {
        words::write(&self.0, words);
    }

    #[inline]
    fn from_words(words: &[u64]) -> Option<Self> {
        words::read(words).map(Min)
    }
}

/// Keeps the largest item; of equal ones the first. Weighs 1. An item that cannot be compared (a
/// NaN) never replaces one that is there.
///
/// ```
/// use write_behind::{Aggregate, Max};
///
/// let mut record = Max::start(10);
/// record.absorb(12);
/// record.absorb(11);
/// assert_eq!(record, Max(12));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Max<T>(pub T);

impl<T: PartialOrd + Send + Sync + 'static> Aggregate for Max<T> {
    type Item = T;

    fn start(item: T) -> Self {
        Max(item)
    }

    fn absorb(&mut self, item: T) {
        drop(self.displace(item));
    }

    fn displace(&mut self, item: T) -> Option<T> {
        Some(if item > self.0 { replace(&mut self.0, item) } else { item })
    }

    fn merge(&mut self, later: Self) {
        self.absorb(later.0);
    }

    #[inline]
    fn lane_words() -> usize {
        words::words_of_ordered::<T>()
    }

    #[inline]
    fn to_words(&self, words: &mut [u64]) {
        words::write(&self.0, words);
    }

    #[inline]
    fn from_words(words: &[u64]) -> Option<Self> {
        words::read(words).map(Max)
    }
}

/// Keeps the item inserted last: latest value wins. Weighs 1.
///
/// ```
/// use write_behind::{Aggregate, Last};
///
/// let mut position = Last::start((0, 0));
/// position.absorb((3, 4));
/// assert_eq!(position, Last((3, 4)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Last<T>(pub T);

impl<T: Send + Sync + 'static> Aggregate for Last<T> {
    type Item = T;

    fn start(item: T) -> Self {
        Last(item)
    }

    fn absorb(&mut self, item: T) {
        self.0 = item;
    }

    fn displace(&mut self, item: T) -> Option<T> {
        Some(replace(&mut self.0, item))
    }

    fn merge(&mut self, later: Self) {
        self.0 = later.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold<A: Aggregate>(first: A::Item, rest: impl IntoIterator<Item = A::Item>) -> A {
        let mut aggregate = A::start(first);
        rest.into_iter().for_each(|item| aggregate.absorb(item));
        aggregate
    }

    #[test]
    fn count_counts_items_of_any_type() {
        let mut words = fold::<Count<&str>>("a", ["b", "c"]);
        words.merge(fold("d", []));
        assert_eq!(words.value(), 4);
    }

    #[test]
    fn min_and_max_keep_the_extremes_and_ignore_nan() {
        assert_eq!(fold::<Min<f64>>(2.0, [3.0, f64::NAN, -1.0]), Min(-1.0));
        assert_eq!(fold::<Max<f64>>(2.0, [3.0, f64::NAN, -1.0]), Max(3.0));
        let mut low = Min(5);
        low.merge(Min(4));
        assert_eq!(low, Min(4));
        let mut high = Max(5);
        high.merge(Max(6));
        assert_eq!(high, Max(6));
    }

    #[test]
    fn last_keeps_the_latest_and_merge_prefers_the_later() {
        let mut last = fold::<Last<u8>>(1, [2, 3]);
        assert_eq!(last, Last(3));
        last.merge(Last(9));
        assert_eq!(last, Last(9));
    }
}
