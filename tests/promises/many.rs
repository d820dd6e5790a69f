use std::panic::{AssertUnwindSafe, catch_unwind};

use write_behind::{Aggregate, InsertErrorKind, Overflow};

use crate::support::{Driver, Rig, secs};

each_driver! {
    items_of_one_key_stay_in_their_order,
    what_is_refused_comes_back_in_its_order,
    items_that_find_it_full_wait_by_the_policy,
    a_panic_loses_nothing_but_its_item,
    an_iterator_that_panics_loses_nothing,
    an_endless_iterator_is_taken_in_chunks_and_without_a_lock,
}

type Lists = Rig<u32, Vec<u32>>;

/// More than one chunk, and more of each key than one hold of a lock.
const MANY: u32 = 5_000;

fn items(keys: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..MANY).map(move |item| (item % keys, item))
}

/// The same for an iterator that tells its length, and one that does not.
fn both_ways(keys: u32, check: impl Fn(&mut dyn Iterator<Item = (u32, u32)>)) {
    check(&mut items(keys));
    check(&mut items(keys).filter(|_| true));
}

fn items_of_one_key_stay_in_their_order(driver: Driver) {
    // Keys that share their partitions, and keys that do not.
    for keys in [1, 3, 4_000] {
        both_ways(keys, |items| {
            let rig = Lists::start(driver, |builder| builder);
            rig.buffer.insert_many(items).expect("there is room");
            for key in 0..keys {
                let of_key: Vec<_> = (key..MANY).step_by(keys as usize).collect();
                assert_eq!(rig.buffer.peek(&key).pending, [of_key]);
            }
            assert_eq!(rig.buffer.stats().accepted, u64::from(MANY));
        });
    }
}

fn what_is_refused_comes_back_in_its_order(driver: Driver) {
    for (keys, partitions) in [(100, 80), (100, 1), (3, 1)] {
        both_ways(keys, |many| {
            let rig = Lists::start(driver, |builder| builder.max_keys(2).partitions(partitions));
            rig.insert(0, 0);
            rig.insert(1, 1);
            let error = rig.buffer.insert_many(many).expect_err("there is room for two keys");
            let refused: Vec<_> = items(keys).filter(|(key, _)| *key > 1).collect();
            assert_eq!((error.kind, error.accepted), (InsertErrorKind::Full, MANY as usize - refused.len()));
            assert_eq!(error.rejected, refused);
            assert_eq!(rig.buffer.stats().rejected, refused.len() as u64);
        });
    }
}

fn items_that_find_it_full_wait_by_the_policy(driver: Driver) {
    for partitions in [1, 80] {
        for overflow in [Overflow::Block { timeout: secs(60) }, Overflow::FlushOldest { timeout: secs(60) }] {
            let limits = |builder: write_behind::Builder<_, _>| {
                builder.max_keys(10).overflow(overflow).partitions(partitions)
            };
            let rig = Lists::start(driver, limits);
            let inserted = rig.while_time_passes(|buffer| buffer.insert_many((0..100).map(|key| (key, key))));
            inserted.expect("room appears in time");
            assert_eq!(rig.buffer.stats().accepted, 100);
        }
    }
}

/// A list that cannot bear 13.
#[derive(Debug, Clone, Default, PartialEq)]
struct Superstitious(Vec<u32>);

impl Aggregate for Superstitious {
    type Item = u32;

    fn start(item: u32) -> Self {
        let mut list = Superstitious::default();
        list.absorb(item);
        list
    }

    fn absorb(&mut self, item: u32) {
        assert_ne!(item % 1_000, 13, "bad luck");
        self.0.push(item);
    }

    fn merge(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

fn a_panic_loses_nothing_but_its_item(driver: Driver) {
    for keys in [1, 3] {
        let rig = Rig::<u32, Superstitious>::start(driver, |builder| builder);
        let given = items(keys).take(2_000);
        let panicked = catch_unwind(AssertUnwindSafe(|| rig.buffer.insert_many(given)));
        assert!(panicked.is_err(), "13 and 1013");
        for key in 0..keys {
            let mut of_key: Vec<_> = (key..2_000).step_by(keys as usize).collect();
            of_key.retain(|item| item % 1_000 != 13);
            assert_eq!(rig.buffer.peek(&key).pending, [Superstitious(of_key)]);
        }
        assert_eq!(rig.buffer.stats().accepted, 1_998);
    }
}

fn an_iterator_that_panics_loses_nothing(driver: Driver) {
    for keys in [1, 500] {
        let rig = Lists::start(driver, |builder| builder);
        let given = items(keys).inspect(|(_, item)| assert!(*item < 3_000, "that is all"));
        let panicked = catch_unwind(AssertUnwindSafe(|| rig.buffer.insert_many(given)));
        assert!(panicked.is_err());
        assert_eq!(rig.buffer.stats().accepted, 3_000);
    }
}

fn an_endless_iterator_is_taken_in_chunks_and_without_a_lock(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder);
    let mut given = 0;
    let endless = std::iter::repeat_with(|| {
        given += 1;
        assert!(given < 20_000, "enough of it");
        // Asks every partition.
        let accepted = rig.buffer.stats().accepted;
        assert!(given <= accepted + 2_048, "{given} given, {accepted} in");
        (7, 0)
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| rig.buffer.insert_many(endless)));
    let message = *panicked.expect_err("it ends by a panic").downcast::<&str>().expect("a literal");
    assert_eq!((message, rig.buffer.stats().accepted), ("enough of it", 19_999));
}
