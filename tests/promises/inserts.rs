use std::cell::Cell;
use std::collections::HashSet;
use std::error::Error;
use std::hash::{BuildHasher, DefaultHasher};
use std::time::Duration;

use write_behind::{Buffer, DataBuffer, InsertErrorKind, ManualClock, Overflow, Sum};

use crate::support::{Driver, Rig, Script, secs, steady};

each_driver! {
    every_kind_of_refusal_gives_the_item_back,
    insert_many_returns_what_was_refused_and_keeps_the_rest,
    a_borrowed_key_finds_and_makes_owned_ones,
    adding_to_a_total_needs_no_room,
    reads_list_every_key_once,
    a_total_that_does_not_fit_is_none,
}

type Lists = Rig<&'static str, Vec<u32>>;

fn every_kind_of_refusal_gives_the_item_back(driver: Driver) {
    let stuck = || Script::batches(|_, _| Err("down".to_owned().into()));
    let refused = |overflow: Overflow| {
        let retry = steady();
        let rig = Lists::with(driver, stuck(), |builder| builder.max_keys(1).retry(retry).overflow(overflow));
        rig.insert("first", 1);
        let error = rig.while_time_passes(|buffer| buffer.insert("second", 2)).expect_err("it is full");
        assert_eq!(error.rejected, ("second", 2));
        assert!(error.source().is_none() && error.to_string().contains(&error.kind.to_string()));
        error.kind
    };
    assert_eq!(refused(Overflow::Reject), InsertErrorKind::Full);
    assert_eq!(refused(Overflow::Block { timeout: secs(1) }), InsertErrorKind::TimedOut);
    assert_eq!(refused(Overflow::FlushOldest { timeout: secs(1) }), InsertErrorKind::TimedOut);
    let closed = Lists::start(driver, |builder| builder);
    closed.buffer.shutdown(secs(1)).expect("there is nothing");
    let error = closed.buffer.insert_ref(&"key", 3).expect_err("it is closed");
    assert_eq!((error.kind, error.rejected), (InsertErrorKind::Closed, 3));
    assert_eq!(closed.buffer.stats().rejected, 1);
}

fn insert_many_returns_what_was_refused_and_keeps_the_rest(driver: Driver) {
    let rig = Lists::start(driver, |builder| builder.max_keys(2));
    rig.buffer.insert_many([("a", 1), ("b", 2)]).expect("there is room for two keys");
    let items = [("c", 3), ("a", 4), ("d", 5)];
    let error = rig.buffer.insert_many(items).expect_err("there is room for two keys");
    assert_eq!((error.kind, error.accepted), (InsertErrorKind::Full, 1));
    assert_eq!(error.rejected, [("c", 3), ("d", 5)]);
    assert_eq!(error.to_string(), "2 of 3 items refused: the buffer is full");
    assert_eq!(rig.buffer.peek("a").pending, [[1, 4]]);
    rig.buffer.insert_many([("b", 6)]).expect("it needs no new key");
}

fn a_borrowed_key_finds_and_makes_owned_ones(driver: Driver) {
    let rig = Rig::<String, Sum<i64>>::start(driver, |builder| builder);
    rig.buffer.add("page", 2).expect("there is room");
    rig.buffer.increment("page").expect("there is room");
    rig.insert("page".to_owned(), 4);
    assert_eq!((rig.buffer.total("page"), rig.buffer.total("other")), (Some(7), Some(0)));
    assert_eq!(rig.buffer.keys(), ["page"]);
}

fn adding_to_a_total_needs_no_room(driver: Driver) {
    let rig = Rig::<&'static str, Sum<i64>>::start(driver, |builder| builder.max_keys(1).max_weight(1));
    (0..1_000).for_each(|_| rig.insert("key", 1));
    assert_eq!((rig.buffer.total("key"), rig.buffer.stats().weight), (Some(1_000), 1));
}

fn reads_list_every_key_once(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let rig = Rig::<u32, Vec<u32>>::with(driver, sink, |builder| builder.partitions(2));
    (0..600).for_each(|key| rig.insert(key, key));
    (0..100).for_each(|key| rig.buffer.flush(&key));
    rig.eventually("a hundred are in flight", || rig.buffer.stats().in_flight == 100);
    (0..50).for_each(|key| rig.insert(key, key));
    let keys = rig.buffer.keys();
    assert_eq!((keys.len(), keys.into_iter().collect::<HashSet<_>>().len()), (600, 600));
    let snapshot = rig.buffer.snapshot();
    assert_eq!(snapshot.len(), 600);
    for (key, data) in snapshot {
        assert_eq!(
            (data.in_flight.is_some(), data.pending.is_empty()),
            (key < 100, (50..100).contains(&key))
        );
        assert!(rig.buffer.contains(&key) && data.iter().all(|items| *items == [key]));
    }
}

fn a_total_that_does_not_fit_is_none(driver: Driver) {
    let sink = Script::batches(|_, _| Err("down".to_owned().into()));
    let retry = steady();
    let rig = Rig::<&'static str, Sum<u8>>::with(driver, sink, |builder| builder.retry(retry));
    rig.insert("key", 200);
    rig.insert("key", 100);
    assert_eq!(rig.buffer.total("key"), None);
    assert_eq!(rig.buffer.peek("key").iter().collect::<Vec<_>>(), [&Sum(200), &Sum(100)]);
}

thread_local! {
    /// What this thread has done so far: keys made, hashes begun.
    static DONE: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Page(u32);

impl Clone for Page {
    fn clone(&self) -> Self {
        let (keys, hashes) = DONE.get();
        DONE.set((keys + 1, hashes));
        Page(self.0)
    }
}

struct Nowhere;

impl DataBuffer<Page, Sum<i64>> for Nowhere {
    fn handle_flush(
        &self,
        _: &Page,
        _: &Sum<i64>,
        _: &write_behind::FlushContext,
    ) -> Result<(), write_behind::FlushError> {
        Ok(())
    }
}

struct CountHashes;

impl BuildHasher for CountHashes {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let (keys, hashes) = DONE.get();
        DONE.set((keys, hashes + 1));
        DefaultHasher::new()
    }
}

#[test]
fn an_insert_hashes_once_and_makes_a_key_only_for_a_new_one() {
    let clock = ManualClock::new();
    let builder = Buffer::builder().interval(Duration::from_secs(60)).hasher(CountHashes);
    let buffer = builder.start_inline(Nowhere, &clock).expect("the settings are good");
    buffer.add(&Page(7), 1).expect("there is room");
    assert_eq!(DONE.get(), (1, 1), "keys made, hashes begun");
    (0..100).for_each(|_| buffer.add(&Page(7), 1).expect("there is room"));
    assert_eq!(DONE.get(), (1, 101));
    buffer.insert(Page(7), 1).expect("there is room");
    assert_eq!(DONE.get(), (1, 102));
    drop(buffer);
}

/// Interned and compound keys, as services have them: all found by what is in hand.
#[test]
fn shared_and_compound_keys_are_found_by_borrowed_ones() {
    use std::borrow::Cow;
    use std::sync::Arc;
    use write_behind::{Key, Parts, SummingBuffer};

    fn start<K: Key>() -> SummingBuffer<K, i64> {
        let store = |_: &K, _: &Sum<i64>| Ok::<(), String>(());
        Buffer::builder().start_inline(store, &ManualClock::new()).expect("it starts")
    }
    let (shared, boxed, cows) = (start::<Arc<str>>(), start::<Box<str>>(), start::<Cow<'static, str>>());
    let compound = start::<(Arc<str>, String)>();
    for amount in [1, 2] {
        shared.add("page", amount).expect("there is room");
        boxed.add("page", amount).expect("there is room");
        cows.add("page", amount).expect("there is room");
        compound.add(&Parts(("acme", "page")), amount).expect("there is room");
    }
    shared.add(&Arc::<str>::from("page"), 4).expect("there is room");
    assert_eq!((shared.total("page"), boxed.total("page"), cows.total("page")), (Some(7), Some(3), Some(3)));
    assert_eq!(compound.total(&Parts(("acme", "page"))), Some(3));
    assert_eq!(compound.keys(), [(Arc::from("acme"), "page".to_owned())]);
    assert_eq!(compound.remove(&Parts(("acme", "page"))), [Sum(3)]);
}
