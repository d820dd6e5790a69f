use super::*;
use crate::aggregate::Sum;
use crate::engine::shard::InFlight;

type Lists = Table<Vec<u8>>;
type Totals = Table<Sum<i8>>;

fn data<V: Clone>(entries: &[Entry<u32, V>]) -> Vec<(u32, V)> {
    entries.iter().map(|entry| (entry.key, entry.data.clone())).collect()
}

#[test]
fn the_first_insert_arms_and_later_ones_are_absorbed() {
    let mut table = Lists::new();
    assert_eq!(table.insert(1, 10), Ok(Inserted::Armed(INTERVAL)));
    table.now = 50;
    assert_eq!(table.insert(1, 11), Ok(Inserted::Absorbed));
    table.expire(INTERVAL - 1);
    assert!(!table.shard.has_due());
    table.expire(INTERVAL);
    let taken = table.take();
    assert_eq!(data(&taken), [(1, vec![10, 11])]);
    assert_eq!((taken[0].count, taken[0].weight, taken[0].reason), (2, 2, FlushReason::Deadline));
}

#[test]
fn a_taken_generation_is_in_flight_until_it_is_settled() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.request(1, None);
    let taken = table.take();
    assert_eq!(
        table.shard.in_flight(hash(1), |_| true),
        Some(InFlight { batch: batch(1), index: 0, count: 1 })
    );
    assert_eq!(table.stats().in_flight, 1);
    assert!(table.shard.contains(hash(1), |_| true));
    let settlement = table.settle(&taken[0], Settled::Flushed);
    assert_eq!(settlement.freed, Need { keys: 1, weight: 1 });
    assert!(table.shard.is_empty() && !table.shard.contains(hash(1), |_| true));
    assert!(!table.lands(taken[0].ticket(batch(1))), "settled twice");
}

#[test]
fn a_due_generation_is_parked_while_its_key_is_in_flight() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.request(1, None);
    let first = table.take();
    table.insert(1, 11).expect("there is room");
    table.request(1, None);
    assert!(table.take().is_empty(), "the key is in flight");
    assert!(!table.shard.has_due(), "what is parked is not looked at again");
    table.batches = 1;
    assert!(table.settle(&first[0], Settled::Flushed).due);
    assert_eq!(data(&table.take()), [(1, vec![11])]);
}

#[test]
fn size_makes_due_once() {
    let mut table = Lists::with(Need { keys: 10, weight: 10 }, Some(2));
    assert_eq!(table.insert(1, 1), Ok(Inserted::Armed(INTERVAL)));
    assert_eq!(table.insert(1, 2), Ok(Inserted::Due));
    assert_eq!(table.insert(1, 3), Ok(Inserted::Absorbed));
    let taken = table.take();
    assert_eq!((taken[0].reason, data(&taken)), (FlushReason::Size, vec![(1, vec![1, 2, 3])]));
}

#[test]
fn a_step_pulls_the_deadline_forward_and_says_so() {
    let step = |inserts, ticks| Step { inserts, within: Duration::from_millis(ticks) };
    let room = Need { keys: 10, weight: 10 };
    let mut table = Lists::with_steps(room, [step(2, 50), step(4, 20), step(5, 0)].into());
    table.now = 10;
    assert_eq!(table.insert(1, 1), Ok(Inserted::Armed(10 + INTERVAL)));
    table.now = 20;
    assert_eq!(table.insert(1, 2), Ok(Inserted::Armed(60)));
    assert_eq!(table.insert(1, 3), Ok(Inserted::Absorbed));
    table.expire(40);
    assert!(table.take().is_empty(), "the next step is not reached");
    assert_eq!(table.insert(1, 4), Ok(Inserted::Armed(30)), "that is past");
    table.expire(40);
    assert_eq!(table.insert(1, 5), Ok(Inserted::Absorbed), "it is due already");
    assert_eq!(data(&table.take()), [(1, vec![1, 2, 3, 4, 5])]);
}

#[test]
fn an_early_flush_leaves_no_timer() {
    let mut table = Lists::new();
    for round in 0..100 {
        table.insert(1, round).expect("there is room");
        table.request(1, None);
        let taken = table.take();
        table.settle(&taken[0], Settled::Flushed);
    }
    assert_eq!(table.shard.cold.timers.len(), 0);
    table.insert(1, 0).expect("there is room");
    table.remove(1).expect("it is pending");
    assert_eq!(table.shard.cold.timers.len(), 0);
}

#[test]
fn an_overflow_closes_the_generation_and_keeps_the_order() {
    let mut table = Totals::new();
    table.insert(1, 100).expect("there is room");
    table.now = 10;
    assert_eq!(table.insert(1, 100), Ok(Inserted::Due), "the older one leaves at once");
    assert_eq!(table.insert(1, 100), Ok(Inserted::Absorbed));
    assert_eq!(table.shard.pending_data(hash(1), |_| true), [Sum(100); 3]);
    assert_eq!(table.shard.pending_count(hash(1), |_| true), 3);
    for _ in 0..2 {
        let taken = table.take();
        assert_eq!(data(&taken), [(1, Sum(100))]);
        table.settle(&taken[0], Settled::Flushed);
    }
    assert!(table.take().is_empty(), "the newest has a deadline of its own");
    table.expire(10 + INTERVAL);
    assert_eq!(table.take().len(), 1);
}

#[test]
fn a_request_reaches_through_to_the_newest_of_several_generations() {
    let mut table = Totals::new();
    table.insert(1, 100).expect("there is room");
    table.insert(1, 100).expect("there is room");
    assert_eq!(table.request(1, Some(&'w')), (false, 2));
    for _ in 0..2 {
        let taken = table.take();
        assert_eq!(table.settle(&taken[0], Settled::Flushed).reached, [('w', 1)]);
    }
    assert!(table.shard.is_empty());
}

#[test]
fn a_request_does_not_reach_what_overflows_after_it() {
    let mut table = Totals::new();
    table.insert(1, 100).expect("there is room");
    table.request(1, None);
    table.insert(1, 100).expect("there is room");
    let taken = table.take();
    table.settle(&taken[0], Settled::Flushed);
    assert!(table.take().is_empty(), "the newest was not asked for");
}

#[test]
fn size_counts_for_the_newest_generation_too() {
    let mut table = Table::<Sum<i8>>::with(Need { keys: 10, weight: 10 }, Some(2));
    for amount in [100, 100, 1] {
        table.insert(1, amount).expect("there is room");
    }
    let taken = table.take();
    assert_eq!(data(&taken), [(1, Sum(100))]);
    assert!(table.settle(&taken[0], Settled::Flushed).due, "two inserts are in the newest");
    assert_eq!(data(&table.take()), [(1, Sum(101))]);
}

#[test]
fn requeued_data_comes_before_newer_data_with_a_fresh_deadline() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.expire(INTERVAL);
    let mut taken = table.take();
    table.insert(1, 11).expect("there is room");
    table.now = 150;
    let settlement = table.requeue(taken.remove(0));
    assert_eq!((settlement.armed, settlement.freed), (Some(150 + INTERVAL), Need::default()));
    table.expire(149 + INTERVAL);
    assert!(table.take().is_empty());
    table.expire(150 + INTERVAL);
    assert_eq!(data(&table.take()), [(1, vec![10, 11])]);
    assert_eq!(table.stats().in_flight, 2);
}

#[test]
fn requeued_data_that_cannot_be_merged_is_flushed_first() {
    let mut table = Totals::new();
    table.insert(1, 100).expect("there is room");
    table.request(1, None);
    let mut taken = table.take();
    table.insert(1, 101).expect("there is room");
    table.insert(1, 102).expect("there is room");
    table.requeue(taken.remove(0));
    let mut totals = Vec::new();
    while totals.len() < 3 {
        table.expire(table.now + INTERVAL);
        let taken = table.take();
        totals.extend(data(&taken));
        table.settle(&taken[0], Settled::Flushed);
    }
    assert_eq!(totals, [(1, Sum(100)), (1, Sum(101)), (1, Sum(102))]);
}

#[test]
fn a_split_batch_is_settled_under_its_new_name() {
    let mut table = Lists::new();
    table.insert(1, 10).expect("there is room");
    table.insert(2, 20).expect("there is room");
    table.expire(INTERVAL);
    let taken = table.take();
    table.shard.rebook(taken[1].hash, (batch(1), 1), (batch(7), 0));
    assert!(!table.lands(taken[1].ticket(batch(1))));
    assert!(table.lands(Ticket { index: 0, ..taken[1].ticket(batch(7)) }));
    assert_eq!(table.stats().keys, 1);
}

#[test]
fn all_generations_of_a_key_are_removed_together() {
    let mut table = Totals::new();
    table.insert(1, 100).expect("there is room");
    table.insert(1, 101).expect("there is room");
    let (removed, settlement) = table.remove(1).expect("two are pending");
    assert_eq!((removed, settlement.freed), (vec![Sum(100), Sum(101)], Need { keys: 1, weight: 2 }));
    table.expire(INTERVAL);
    assert!(table.take().is_empty());
    assert_eq!((table.stats().removed, table.stats().weight), (2, 0));
}

#[test]
fn pressure_takes_the_nearest_deadlines() {
    let mut table = Lists::new();
    for key in 1..=3 {
        table.insert(key, 0).expect("there is room");
        table.now += 20;
    }
    assert_eq!(table.shard.nearest_deadline(), Some(INTERVAL));
    assert_eq!(table.shard.hasten(2), 2);
    let taken = table.take();
    assert_eq!(data(&taken), [(1, vec![0]), (2, vec![0])]);
    assert!(taken.iter().all(|entry| entry.reason == FlushReason::Pressure));
}
