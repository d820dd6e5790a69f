//! What the buffer keeps per account between two flushes: how many messages each minute got.

use write_behind::Aggregate;

/// The number of a minute since the beginning of time.
pub(crate) type Minute = u64;

/// Counts by the minute of the messages' own timestamps, so it does not matter when they arrive, or in
/// which order, or which flush carries them.
#[derive(Debug, Clone)]
pub(crate) struct Minutes {
    /// A few at most: an interval is shorter than a minute, and a message comes late by minutes.
    counts: Vec<(Minute, u64)>,
}

impl Minutes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Minute, u64)> + '_ {
        self.counts.iter().copied()
    }

    fn add(&mut self, minute: Minute, count: u64) {
        match self.counts.iter_mut().find(|(other, _)| *other == minute) {
            Some((_, sum)) => *sum += count,
            None => self.counts.push((minute, count)),
        }
    }
}

impl Aggregate for Minutes {
    type Item = Minute;

    fn start(minute: Minute) -> Self {
        Minutes { counts: vec![(minute, 1)] }
    }

    fn absorb(&mut self, minute: Minute) {
        self.add(minute, 1);
    }

    fn merge(&mut self, later: Self) {
        later.iter().for_each(|(minute, count)| self.add(minute, count));
    }

    fn weight(&self) -> u64 {
        self.counts.len() as u64
    }

    fn growth(&self, minute: &Minute) -> u64 {
        u64::from(!self.iter().any(|(other, _)| other == *minute))
    }
}
