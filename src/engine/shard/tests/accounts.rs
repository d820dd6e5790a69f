use super::*;
use crate::aggregate::Sum;

type Lists = Table<Vec<u8>>;

#[test]
fn room_is_asked_for_before_anything_is_touched() {
    let mut table = Lists::with(Need { keys: 1, weight: 2 }, None);
    table.insert(1, 10).expect("there is room");
    assert_eq!(table.insert(2, 20), Err(Lack::Room(Need { keys: 1, weight: 1 })));
    table.insert(1, 11).expect("there is room");
    assert_eq!(table.insert(1, 12), Err(Lack::Room(Need { keys: 0, weight: 1 })));
    let stats = table.stats();
    assert_eq!((stats.accepted, stats.keys, stats.weight), (2, 1, 2));
    assert_eq!(table.shard.pending_data(hash(1), |_| true), [[10, 11]]);
}

#[test]
fn a_key_in_flight_needs_no_second_place() {
    let mut table = Lists::with(Need { keys: 1, weight: 10 }, None);
    table.insert(1, 10).expect("there is room");
    table.request(1, None);
    let taken = table.take();
    table.insert(1, 11).expect("the key has its place");
    let settlement = table.settle(&taken[0], Settled::Flushed);
    assert_eq!(settlement.freed, Need { keys: 0, weight: 1 });
    assert_eq!(table.stats().keys, 1);
}

#[test]
fn an_overflowing_total_needs_weight() {
    let mut table = Table::<Sum<i8>>::with(Need { keys: 1, weight: 1 }, None);
    table.insert(1, 100).expect("there is room");
    table.insert(1, 1).expect("a total does not grow");
    assert_eq!(table.insert(1, 100), Err(Lack::Room(Need { keys: 0, weight: 1 })));
    assert_eq!(table.shard.pending_data(hash(1), |_| true), [Sum(101)]);
}

#[test]
fn unused_room_can_be_called_back() {
    let mut table = Lists::with(Need { keys: 5, weight: 7 }, None);
    table.insert(1, 10).expect("there is room");
    assert_eq!(table.shard.recall(), Need { keys: 4, weight: 6 });
    assert_eq!(table.shard.recall(), Need::default());
    assert_eq!(table.stats().weight, 1);
    table.insert(2, 20).expect_err("all room was called back");
}

#[test]
fn every_fate_is_counted() {
    let mut table = Lists::new();
    for key in 1..=4 {
        table.insert(key, 0).expect("there is room");
    }
    table.expire(INTERVAL);
    let mut taken = table.take();
    for (entry, how) in taken.iter().zip([Settled::Flushed, Settled::GaveUp]) {
        table.settle(entry, how);
    }
    let kept =
        Entry { counts_as_key: table.settle(&taken[2], Settled::Kept).counts_as_key, ..taken.remove(2) };
    table.insert(6, 0).expect("there is room");
    table.remove(6).expect("it is pending");
    let stats = table.stats();
    assert_eq!((stats.flushed, stats.gave_up, stats.undelivered), (1, 1, 1));
    assert_eq!((stats.in_flight, stats.removed, stats.keys, stats.weight), (2, 1, 2, 2));
    table.shard.return_kept(&kept);
    let stats = table.stats();
    assert_eq!((stats.undelivered, stats.returned, stats.keys), (0, 1, 1));
}

#[test]
fn kept_data_does_not_hold_its_key_up() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.request(1, None);
    let taken = table.take();
    table.insert(1, 11).expect("there is room");
    table.request(1, None);
    table.take();
    table.batches = 1;
    assert!(table.settle(&taken[0], Settled::Kept).due);
    assert_eq!(table.take().len(), 1);
}

#[test]
fn a_closed_shard_refuses() {
    let mut table = Lists::new();
    assert!(table.shard.is_open());
    table.shard.close();
    assert_eq!(table.insert(1, 10), Err(Lack::Opening));
    assert_eq!(table.stats(), Stats::default());
}

#[test]
fn abandoning_hands_everything_out_in_order() {
    let mut table = Table::<Sum<i8>>::new();
    table.insert(1, 100).expect("there is room");
    table.insert(1, 101).expect("there is room");
    table.insert(1, 102).expect("there is room");
    table.insert(2, 5).expect("there is room");
    table.request(2, None);
    table.shard.take(0, 1, Numbering::Together(batch(1)), &mut Vec::new());
    assert_eq!(table.stats().in_flight, 1);
    let (left, inserts) = table.shard.abandon(&[batch(1)]);
    assert_eq!((left.len(), inserts), (3, 3));
    let stats = table.stats();
    assert_eq!((stats.pending, stats.in_flight, stats.returned, stats.keys), (0, 1, 3, 1));
    let of_one: Vec<_> = left.into_generations().filter(|(key, ..)| *key == 1).collect();
    assert_eq!(of_one, [(1, Sum(101), 1), (1, Sum(102), 1)], "100 is in flight");
}

#[test]
fn a_shard_at_rest_gives_its_memory_back() {
    let mut table = Lists::new();
    for key in 0..100 {
        table.insert(key, 0).expect("there is room");
    }
    table.shard.shrink();
    assert!(table.shard.pending.capacity() >= 100, "what holds data is left alone");
    (0..100).for_each(|key| drop(table.remove(key)));
    table.shard.shrink();
    assert_eq!((table.shard.pending.capacity(), table.shard.cold.flying.capacity()), (0, 0));
    table.insert(1, 1).expect("it still works");
}

#[test]
fn those_who_wait_for_a_whole_run_are_told_once() {
    let mut table = Lists::new();
    for key in [1, 2, 3] {
        table.insert(key, 1).expect("there is room");
        table.request(key, (key < 3).then_some(&'w'));
    }
    let tickets: Vec<Ticket> = table.take().iter().map(|entry| entry.ticket(batch(1))).collect();
    let mut settlement = Settlement::default();
    table.shard.settle(&tickets, Settled::Flushed, &mut settlement);
    assert_eq!((settlement.keys, settlement.reached), (vec![1, 2, 3], vec![('w', 2)]));
    assert!(table.shard.is_empty());
}

#[test]
fn a_waiter_is_reached_once_per_generation_that_was_there() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.request(1, None);
    let first = table.take();
    table.insert(1, 11).expect("there is room");
    assert_eq!(table.request(1, Some(&'w')), (true, 2));
    table.take();
    table.batches = 1;
    assert_eq!(table.settle(&first[0], Settled::Flushed).reached, [('w', 1)]);
    let second = table.take();
    table.insert(1, 12).expect("there is room");
    assert_eq!(table.settle(&second[0], Settled::Flushed).reached, [('w', 1)]);
    let (_, settlement) = table.remove(1).expect("the newest is pending");
    assert_eq!(settlement.reached, []);
}

#[test]
fn removing_newer_data_does_not_end_the_wait_for_what_is_in_flight() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.request(1, Some(&'w'));
    let taken = table.take();
    table.insert(1, 11).expect("there is room");
    let (removed, settlement) = table.remove(1).expect("it is pending");
    assert_eq!((removed, settlement.reached), (vec![vec![11]], vec![]));
    assert_eq!(table.settle(&taken[0], Settled::Flushed).reached, [('w', 1)]);
}

#[test]
fn what_is_in_flight_is_watched_once() {
    let mut table = Lists::new();
    for key in [1, 2] {
        table.insert(key, 10).expect("there is room");
        table.request(key, None);
    }
    table.take();
    assert_eq!(table.shard.watch_flying(&'w'), 2);
    table.insert(1, 11).expect("there is room");
    let (request, next) = table.shard.request_some(0, 100, FlushReason::Requested, Some(&'w'));
    assert_eq!((request.outstanding, next), (1, None));
    assert_eq!(table.shard.watch_flying(&'w'), 0);
    table.shard.forget_waiter(&'w');
    assert!(table.shard.cold.watches.is_empty());
}

#[test]
fn keys_are_read_in_steps() {
    let mut table = Lists::new();
    for key in 0..10 {
        table.insert(key, 0).expect("there is room");
    }
    table.request(3, None);
    table.take();
    let mut keys = Vec::new();
    let mut from = Some(0);
    while let Some(start) = from {
        from = table.shard.some_keys(start, 4, &mut keys);
    }
    table.shard.flying_keys(&mut keys);
    keys.sort_unstable();
    assert_eq!(keys, (0..10).collect::<Vec<_>>());
}
