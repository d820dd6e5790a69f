//! What is lent to lanes, and how it comes back.

use std::sync::{Arc, Mutex};

use super::super::leases::Lease;
use super::*;
use crate::aggregate::Sum;

type Totals = Table<Sum<u8>>;

/// A lane of one key, whose owner does as the test says.
#[derive(Clone, Default)]
struct Lane(Arc<Mutex<Absorbed>>);

#[derive(Default)]
struct Absorbed {
    limit: u32,
    made: u32,
    total: u8,
}

impl Lane {
    /// The owner inserts. False if it may not.
    fn insert(&self, item: u8) -> bool {
        let mut absorbed = self.0.lock().unwrap();
        let may = absorbed.made < absorbed.limit;
        if may {
            absorbed.made += 1;
            absorbed.total += item;
        }
        may
    }

    fn limit(&self) -> u32 {
        self.0.lock().unwrap().limit
    }
}

impl Lease<Sum<u8>> for Lane {
    fn used(&self) -> u32 {
        self.0.lock().unwrap().made
    }

    fn revoke(&self) {
        self.0.lock().unwrap().limit = 0;
    }

    fn publish(&self) {}

    fn collect(&self) -> Option<(Sum<u8>, u32)> {
        let absorbed = self.0.lock().unwrap();
        assert_eq!(absorbed.limit, 0, "it was revoked");
        (absorbed.made > 0).then_some((Sum(absorbed.total), absorbed.made))
    }
}

impl Totals {
    /// A lane that has a lease of key 1, if there is any to spare.
    fn lend(&mut self) -> Option<Lane> {
        let lane = Lane::default();
        let open = |inserts| {
            *lane.0.lock().unwrap() = Absorbed { limit: inserts, ..Absorbed::default() };
            Box::new(lane.clone()) as Box<dyn Lease<Sum<u8>>>
        };
        self.shard.lend(hash(1), |key| *key == 1, open).then(|| lane.clone())
    }

    fn pending_count(&self) -> u64 {
        self.shard.pending_count(hash(1), |key| *key == 1)
    }
}

#[test]
fn what_is_lent_counts_when_it_is_used() {
    let mut table = Totals::new();
    assert!(table.lend().is_none(), "there is no generation that it would belong to");
    table.insert(1, 1).unwrap();
    let (lane, other) = (table.lend().unwrap(), table.lend().unwrap());
    assert_eq!((table.stats().accepted, table.stats().pending, table.pending_count()), (1, 1, 1));
    assert!(lane.insert(2) && lane.insert(3) && other.insert(4));
    assert_eq!((table.stats().accepted, table.stats().pending, table.pending_count()), (4, 4, 4));
    assert!(table.shard.end_leases_of(hash(1), |_| true) && !lane.insert(5));
    assert_eq!((table.stats().accepted, table.stats().pending, table.pending_count()), (4, 4, 4));
    assert_eq!(table.shard.pending_data(hash(1), |_| true), [Sum(10)]);
    assert!(!table.shard.end_leases_of(hash(1), |_| true));
}

#[test]
fn a_take_takes_what_lanes_have() {
    let mut table = Totals::new();
    table.insert(1, 1).unwrap();
    let lane = table.lend().unwrap();
    lane.insert(2);
    table.expire(INTERVAL);
    let taken = table.take();
    assert_eq!((taken[0].data, taken[0].count), (Sum(3), 2));
    assert!(!lane.insert(4), "the next generation has a deadline of its own");
    assert_eq!((table.stats().pending, table.stats().in_flight), (0, 2));
}

#[test]
fn removing_returns_what_lanes_have() {
    let mut table = Totals::new();
    table.insert(1, 1).unwrap();
    let lane = table.lend().unwrap();
    lane.insert(2);
    let (removed, _) = table.remove(1).unwrap();
    assert_eq!(removed, [Sum(3)]);
    assert_eq!((table.stats().removed, lane.limit()), (2, 0));
}

#[test]
fn the_count_at_which_a_generation_is_due_is_neither_missed_nor_early() {
    for used in [0, 1, 7, 24] {
        let mut table = Totals::with(Need { keys: 10, weight: 10 }, Some(100));
        table.insert(1, 0).unwrap();
        let lane = table.lend().unwrap();
        assert_eq!(lane.limit(), 24, "a quarter of what is left before the hundredth");
        (0..used).for_each(|_| assert!(lane.insert(0)));
        for insert in used + 2..100 {
            assert_eq!(table.insert(1, 0), Ok(Inserted::Absorbed), "{used} and {insert}");
        }
        assert_eq!(table.insert(1, 0), Ok(Inserted::Due), "{used}");
        assert_eq!(table.take()[0].count, 100);
    }
}

#[test]
fn nothing_is_lent_shortly_before_a_generation_is_due() {
    let mut table = Totals::with(Need { keys: 10, weight: 10 }, Some(100));
    (0..68).for_each(|_| _ = table.insert(1, 0).unwrap());
    assert!(table.lend().is_none());
}

#[test]
fn a_lease_outlasts_a_step_that_only_lent_inserts_have_passed() {
    let mut table = Totals::with(Need { keys: 10, weight: 10 }, Some(100));
    table.insert(1, 0).unwrap();
    let lanes: Vec<_> = std::iter::from_fn(|| table.lend()).collect();
    (0..40).for_each(|_| assert_eq!(table.insert(1, 0), Ok(Inserted::Absorbed)));
    assert!(lanes.iter().all(|lane| lane.limit() == 0), "they had to be ended to know");
    assert_eq!(table.pending_count(), 41);
}

#[test]
fn what_does_not_fit_is_flushed_apart_and_nobody_is_told_too_early() {
    let mut table = Totals::new();
    table.insert(1, 200).unwrap();
    let lane = table.lend().unwrap();
    assert!(lane.insert(100));
    assert_eq!(table.request(1, Some(&'w')), (true, 2), "it is two generations by now");
    let mut told = 0;
    let mut totals = Vec::new();
    for _ in 0..2 {
        for entry in table.take() {
            totals.push((entry.data.0, entry.count));
            told += table.settle(&entry, Settled::Flushed).reached.len();
            assert_eq!(told, totals.len());
        }
    }
    assert_eq!(totals, [(200, 1), (100, 1)]);
}

#[test]
fn a_waiter_does_not_count_what_is_split_off_later() {
    let mut table = Totals::new();
    table.insert(1, 200).unwrap();
    assert_eq!(table.request(1, Some(&'w')), (true, 1));
    let lane = table.lend().unwrap();
    assert!(lane.insert(100));
    let taken = table.take();
    assert_eq!(taken[0].data, Sum(200));
    assert_eq!(table.settle(&taken[0], Settled::Flushed).reached, [('w', 1)]);
    let taken = table.take();
    assert_eq!(taken[0].data, Sum(100));
    assert!(table.settle(&taken[0], Settled::Flushed).reached.is_empty());
}

#[test]
fn closing_and_emptying_end_all_leases() {
    let mut table = Totals::new();
    table.insert(1, 1).unwrap();
    let lane = table.lend().unwrap();
    lane.insert(2);
    table.shard.close();
    assert_eq!(lane.limit(), 0);
    assert!(table.lend().is_none(), "nothing is accepted any more");
    let (abandoned, inserts) = table.shard.abandon(&[]);
    let left: Vec<_> = abandoned.into_generations().collect();
    assert_eq!((left, inserts), (vec![(1, Sum(3), 2)], 2));
}

#[test]
fn putting_back_meets_what_lanes_have() {
    let mut table = Totals::new();
    table.insert(1, 1).unwrap();
    table.request(1, None);
    let taken = table.take();
    table.insert(1, 2).unwrap();
    let lane = table.lend().unwrap();
    lane.insert(4);
    table.requeue(taken.into_iter().next().unwrap());
    assert_eq!((table.pending_count(), table.stats().pending), (3, 3));
    assert_eq!(table.shard.pending_data(hash(1), |_| true), [Sum(7)]);
    assert_eq!(lane.limit(), 0);
}
