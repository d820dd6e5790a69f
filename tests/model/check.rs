//! What is checked after every step, and at the end.

use std::collections::BTreeSet;

use crate::reference::{End, Wait};
use crate::run::Pair;
use crate::sink::Kind;

impl<V: Kind> Pair<V> {
    pub(crate) fn check(&self) {
        self.check_stats();
        (0..6).for_each(|key| self.check_reads(key));
        let held = |key: &u8| !self.model.keys[key].is_empty();
        let keys: BTreeSet<u8> = self.buffer.keys().into_iter().collect();
        assert_eq!(keys, (0..6).filter(held).collect());
    }

    fn check_stats(&self) {
        let (stats, model) = (self.buffer.stats(), &self.model);
        assert_eq!(stats.balance(), 0, "{stats:?}");
        let pending = model.keys.values().flat_map(|state| &state.generations);
        let flying = model.keys.values().flat_map(|state| &state.flight).map(|flight| &flight.generation);
        let kept = model.kept.iter().flat_map(|kept| &kept.lines);
        let kept: u64 = kept.map(|line| line.generation.count()).sum();
        let in_flight = flying.map(|generation| generation.count()).sum::<u64>() + kept;
        let (keys, weight) = model.in_use();
        assert!(keys <= model.settings.max_keys && weight <= model.settings.max_weight);
        for (name, ours, theirs) in [
            ("accepted", stats.accepted, model.accepted),
            ("pending", stats.pending, pending.map(|generation| generation.count()).sum()),
            ("in flight", stats.in_flight, in_flight),
            ("undelivered", stats.undelivered, kept),
            ("flushed", stats.flushed, model.ended(End::Flushed)),
            ("gave up", stats.gave_up, model.ended(End::GaveUp)),
            ("removed", stats.removed, model.ended(End::Removed)),
            ("returned", stats.returned, model.ended(End::Returned)),
            ("rejected", stats.rejected, model.rejected),
            ("shed", stats.shed, model.shed.len() as u64),
            ("keys", stats.keys, keys),
            ("weight", stats.weight, weight),
            ("flushes", stats.flushes, model.flushes),
            ("failures", stats.failures, model.failures),
            ("retries", stats.retries, model.retries),
            ("panics", stats.panics, model.panics),
        ] {
            assert_eq!(ours, theirs, "{name}: {stats:?}");
        }
    }

    fn check_reads(&self, key: u8) {
        let state = &self.model.keys[&key];
        let seen = self.buffer.peek(&key);
        let pending: Vec<V> = state.generations.iter().map(|generation| generation.data.clone()).collect();
        assert_eq!(seen.pending, pending);
        let flying = state.flight.as_ref().map(|flight| &flight.generation);
        assert_eq!(seen.in_flight.as_ref().map(|(data, _)| data), flying.map(|generation| &generation.data));
        if let (Some(id), Some((_, seen))) = (self.model.batch_of(key), &seen.in_flight) {
            assert_eq!(id, *seen);
        }
        let count = self.buffer.count(&key);
        assert_eq!(count.in_flight, flying.map_or(0, |generation| generation.count()));
        assert_eq!(count.pending, state.generations.iter().map(|generation| generation.count()).sum::<u64>());
        assert_eq!(self.buffer.contains(&key), !state.is_empty());
    }

    /// Time has passed, so whatever is due has been done.
    pub(crate) fn check_nothing_is_late(&self) {
        let now = self.clock.now();
        for (key, state) in &self.model.keys {
            match &state.flight {
                Some(flight) => {
                    let waits = matches!(flight.wait, Wait::Attempt { until, .. } if until > now);
                    assert!(waits, "key {key} at {now:?}: {state:?}");
                }
                None => assert!(
                    state.generations.is_empty() || !state.is_due(now),
                    "key {key} is late at {now:?}: {state:?}"
                ),
            }
        }
        let held = self.model.keys.values().any(|state| !state.is_empty());
        assert!(!(held && self.buffer.stats().hibernating), "at rest with data in it");
    }

    /// Every accepted insert has ended, and what has been acknowledged has been applied.
    pub(crate) fn check_the_end(&self) {
        let model = &self.model;
        assert_eq!(model.ends.len() as u64, model.accepted);
        for (number, end) in &model.ends {
            let applied = model.applied.contains(number);
            match end {
                End::Flushed => assert!(applied, "insert {number} is lost"),
                End::Removed => assert!(!applied, "insert {number} was removed and yet applied"),
                End::GaveUp | End::Returned => {}
            }
        }
        let stats = self.buffer.stats();
        assert_eq!((stats.pending, stats.in_flight, stats.keys, stats.weight), (0, 0, 0, 0), "{stats:?}");
    }
}
