//! What the dashboard remembers is bounded, and true.

use std::collections::HashMap;
use std::time::Duration;

use write_behind::Stats;

use crate::history::History;
use crate::top_keys::{KEPT, TopKeys};

fn accepted(accepted: u64) -> Stats {
    let mut stats = Stats::default();
    stats.accepted = accepted;
    stats
}

#[test]
fn few_keys_are_counted_exactly() {
    let mut top = TopKeys::default();
    top.add([("b", 2), ("a", 2)].into_iter());
    top.add([("c", 1), ("b", 1)].into_iter());
    let top = top.first(2);
    assert_eq!(top.keys, [("b".to_owned(), 3), ("a".to_owned(), 2)]);
    assert_eq!(top.uncertain, 0);
}

/// However many there are, the largest are found, and no count is further off than is said.
#[test]
fn among_many_keys_counts_are_off_by_no_more_than_is_said() {
    let mut top = TopKeys::default();
    let mut truth: HashMap<String, u64> = HashMap::new();
    for batch in 0_u64..200 {
        let crowd = (0..700).map(|key| (format!("crowd {}", (batch * 37 + key) % 9_000), 1 + key % 3));
        let batch: Vec<(String, u64)> =
            crowd.chain((0..5).map(|key| (format!("large {key}"), 40 + key))).collect();
        for (key, count) in &batch {
            *truth.entry(key.clone()).or_default() += count;
        }
        top.add(batch.iter().map(|(key, count)| (key.as_str(), *count)));
    }
    let found = top.first(usize::MAX);
    let all: u64 = truth.values().sum();
    assert!(found.keys.len() <= KEPT, "{}", found.keys.len());
    assert!(0 < found.uncertain && found.uncertain <= all / KEPT as u64, "{} of {all}", found.uncertain);
    for (key, counted) in &found.keys {
        assert!(*counted <= truth[key] && truth[key] <= counted + found.uncertain, "{key}: {counted}");
    }
    let first: Vec<&str> = found.keys[..5].iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(first, ["large 4", "large 3", "large 2", "large 1", "large 0"]);
}

#[test]
fn two_minutes_are_kept_and_nothing_is_lost_between_samples() {
    let mut history = History::default();
    for quarter in 1..=4 * 1_000 {
        history.wrote(1, Duration::from_millis(quarter));
        history.record(Duration::from_millis(250) * quarter as u32, &accepted(quarter * 10));
    }
    let samples = history.samples();
    assert!((120..200).contains(&samples.len()), "{}", samples.len());
    assert!(samples.iter().all(|sample| (sample.span_ms, sample.accepted, sample.rows) == (1_000, 40, 4)));
    assert_eq!((samples.back().unwrap().at_ms, samples.back().unwrap().took_ms), (1_000_000, 4_000));
    assert_eq!(history.rows(), 4_000);
}

/// What wakes a buffer after an hour was not spread over that hour.
#[test]
fn what_ends_a_silence_happened_at_its_end() {
    let mut history = History::default();
    history.record(Duration::from_secs(1), &accepted(5));
    history.late(Duration::from_millis(7));
    history.record(Duration::from_secs(3_601), &accepted(9));
    let last = history.samples().back().unwrap();
    assert_eq!((last.at_ms, last.span_ms, last.accepted, last.late_ms), (3_601_000, 1_000, 4, 7));
}

#[test]
fn statistics_told_in_another_order_than_taken_do_not_count_twice() {
    let mut history = History::default();
    for (second, told) in [(1, 10), (2, 8), (3, 12)] {
        history.record(Duration::from_secs(second), &accepted(told));
    }
    let counted: Vec<u64> = history.samples().iter().map(|sample| sample.accepted).collect();
    assert_eq!(counted, [10, 0, 2]);
}
