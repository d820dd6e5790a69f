use std::hash::Hash;

use hashbrown::HashMap;

/// Who waits for which keys of a partition. `T` stands for the one who waits.
#[derive(Debug)]
pub(crate) struct Watches<K, T> {
    watches: Vec<Watch<K, T>>,
}

/// Those who waited for what was settled, and for how many generations of it. One who waits alone, as
/// for everything, is there once.
pub(crate) type Reached<T> = Vec<(T, u32)>;

#[derive(Debug)]
struct Watch<K, T> {
    outstanding: HashMap<K, Outstanding>,
    waiter: T,
}

/// What is waited for of a key.
#[derive(Debug, Default)]
struct Outstanding {
    /// How many of the oldest generations it does not wait for: they were put before the others later.
    skipped: u32,
    /// How many generations, after those, have still to be settled.
    left: u32,
}

impl<K, T> Default for Watches<K, T> {
    fn default() -> Self {
        Watches { watches: Vec::new() }
    }
}

impl<K: Hash + Eq, T: Clone + PartialEq> Watches<K, T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Lets `waiter` wait for the oldest `generations` of `key`. Returns how many of them are in
    /// addition to those that it waits for already.
    pub(crate) fn add(&mut self, waiter: &T, key: K, generations: u32) -> u32 {
        let place = self.watches.iter().position(|watch| watch.waiter == *waiter).unwrap_or_else(|| {
            self.watches.push(Watch { outstanding: HashMap::new(), waiter: waiter.clone() });
            self.watches.len() - 1
        });
        let outstanding = self.watches[place].outstanding.entry(key).or_default();
        let left = generations.max(outstanding.skipped + outstanding.left);
        let more = left - outstanding.left;
        *outstanding = Outstanding { skipped: 0, left };
        more
    }

    /// A generation of `key` has come before all others: nobody waits for it.
    pub(crate) fn put_before(&mut self, key: &K) {
        let of_key = self.watches.iter_mut().filter_map(|watch| watch.outstanding.get_mut(key));
        of_key.for_each(|outstanding| outstanding.skipped += 1);
    }

    /// The generation of `key` at this place, the oldest being at 1, is settled: counts it for those who
    /// waited for it.
    pub(crate) fn settled(&mut self, key: &K, place: u32, reached: &mut Reached<T>) {
        self.watches.retain_mut(|watch| {
            match watch.outstanding.get_mut(key) {
                Some(Outstanding { skipped, .. }) if place <= *skipped => *skipped -= 1,
                Some(Outstanding { skipped, left }) if place <= *skipped + *left => {
                    match reached.last_mut() {
                        Some((waiter, generations)) if *waiter == watch.waiter => *generations += 1,
                        _ => reached.push((watch.waiter.clone(), 1)),
                    }
                    *left -= 1;
                    if *left == 0 {
                        watch.outstanding.remove(key);
                    }
                }
                _ => {}
            }
            !watch.outstanding.is_empty()
        });
    }

    /// Forgets a waiter that has stopped waiting.
    pub(crate) fn forget(&mut self, waiter: &T) {
        self.watches.retain(|watch| watch.waiter != *waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is reached by that.
    fn settled(watches: &mut Watches<&'static str, u8>, key: &'static str, place: u32) -> Reached<u8> {
        let mut reached = Vec::new();
        watches.settled(&key, place, &mut reached);
        reached
    }

    #[test]
    fn reaches_each_waiter_once_per_generation_and_then_forgets_it() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 2);
        watches.add(&1, "b", 1);
        watches.add(&2, "a", 1);
        assert_eq!(settled(&mut watches, "a", 1), [(1, 1), (2, 1)]);
        assert_eq!(settled(&mut watches, "a", 1), [(1, 1)]);
        assert_eq!(settled(&mut watches, "a", 1), []);
        assert!(!watches.is_empty());
        assert_eq!(settled(&mut watches, "b", 1), [(1, 1)]);
        assert!(watches.is_empty());
    }

    #[test]
    fn what_is_settled_together_is_counted_together() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 1);
        watches.add(&1, "b", 1);
        watches.add(&2, "b", 1);
        let mut reached = Vec::new();
        ["a", "b", "c"].iter().for_each(|key| watches.settled(key, 1, &mut reached));
        assert_eq!(reached, [(1, 2), (2, 1)]);
    }

    #[test]
    fn what_is_waited_for_already_is_not_waited_for_twice() {
        let mut watches = Watches::default();
        assert_eq!(watches.add(&1, "a", 1), 1);
        assert_eq!(watches.add(&1, "a", 2), 1);
        assert_eq!(watches.add(&1, "a", 1), 0);
        assert_eq!([settled(&mut watches, "a", 1), settled(&mut watches, "a", 1)], [[(1, 1)], [(1, 1)]]);
        assert!(watches.is_empty());
    }

    #[test]
    fn a_newer_generation_that_goes_first_reaches_only_those_who_wait_for_it() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 1);
        watches.add(&2, "a", 2);
        assert_eq!(settled(&mut watches, "a", 2), [(2, 1)]);
        assert_eq!(settled(&mut watches, "a", 1), [(1, 1), (2, 1)]);
        assert!(watches.is_empty());
    }

    #[test]
    fn nobody_waits_for_what_is_put_before_the_rest() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 1);
        watches.put_before(&"a");
        watches.put_before(&"b");
        assert_eq!(settled(&mut watches, "a", 3), [], "newer");
        assert_eq!(settled(&mut watches, "a", 1), [], "put before");
        assert_eq!(settled(&mut watches, "a", 1), [(1, 1)]);
        assert!(watches.is_empty());
    }

    #[test]
    fn who_asks_again_waits_for_what_was_put_before_too() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 1);
        watches.put_before(&"a");
        assert_eq!(watches.add(&1, "a", 2), 1);
        assert_eq!([settled(&mut watches, "a", 1), settled(&mut watches, "a", 1)], [[(1, 1)], [(1, 1)]]);
    }

    #[test]
    fn a_waiter_that_gave_up_leaves_no_trace() {
        let mut watches = Watches::default();
        watches.add(&1, "a", 1);
        watches.forget(&1);
        assert!(watches.is_empty());
        assert_eq!(settled(&mut watches, "a", 1), []);
    }
}
