//! The keys with the most increments, in bounded space however many keys there are.
//!
//! Misra and Gries' summary, a batch at a time as in "Mergeable Summaries" (Agarwal et al., 2012): counts are
//! never too high, and too low by at most `uncertain`, which is less than a [`KEPT`]th of all increments.

use std::collections::HashMap;

/// How many keys are counted at most.
pub(crate) const KEPT: usize = 256;

#[derive(Default)]
pub(crate) struct TopKeys {
    counts: HashMap<String, u64>,
    uncertain: u64,
}

/// The first keys, most increments first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) keys: Vec<(String, u64)>,
    /// What counts may lack at most.
    pub(crate) uncertain: u64,
}

impl TopKeys {
    /// Takes a batch in, in time linear in its size. Each key comes once in it.
    pub(crate) fn add<'a>(&mut self, batch: impl Iterator<Item = (&'a str, u64)>) {
        let mut new = Vec::new();
        for (key, count) in batch {
            match self.counts.get_mut(key) {
                Some(counted) => *counted += count,
                None => new.push((key, count)),
            }
        }
        let cut = self.cut(&new);
        self.uncertain += cut;
        if cut > 0 {
            self.counts.retain(|_, counted| {
                *counted = counted.saturating_sub(cut);
                *counted > 0
            });
        }
        new.retain(|(_, count)| *count > cut);
        self.counts.extend(new.into_iter().map(|(key, count)| (key.to_owned(), count - cut)));
    }

    /// What all counts are lowered by so that at most [`KEPT`] are left: the largest that does not fit.
    fn cut(&self, new: &[(&str, u64)]) -> u64 {
        let mut counts: Vec<u64> = self.counts.values().copied().chain(new.iter().map(|new| new.1)).collect();
        if counts.len() <= KEPT {
            return 0;
        }
        *counts.select_nth_unstable_by(KEPT, |one, other| other.cmp(one)).1
    }

    pub(crate) fn first(&self, keys: usize) -> Top {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        let keys = all.into_iter().take(keys).map(|(key, &count)| (key.clone(), count)).collect();
        Top { keys, uncertain: self.uncertain }
    }
}
