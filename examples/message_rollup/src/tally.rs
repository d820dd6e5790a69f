//! The same counts kept the plain way, every message at once, to check the roll-up against.

use std::collections::BTreeMap;

use crate::Account;
use crate::minutes::Minute;
use crate::rollup::{Rollup, minute_of};
use crate::traffic::Message;
use crate::window::POINTS;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<(Account, Minute), u64>,
    pub(crate) points_checked: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, message: &Message) {
        *self.counts.entry((message.account.clone(), minute_of(message.written))).or_default() += 1;
    }

    /// Compares every point of every account's window that ends with `minute`.
    pub(crate) fn check(&mut self, rollup: &Rollup, minute: Minute) -> Result<(), String> {
        for (account, points, _) in rollup.series(minute) {
            let first = (minute + 1).saturating_sub(POINTS as u64);
            let skipped = POINTS - (minute + 1 - first) as usize;
            for (of, point) in (first..).zip(&points[skipped..]) {
                let expected = self.counts.get(&(account.clone(), of)).copied().unwrap_or(0);
                if *point != expected {
                    return Err(format!("{account}: minute {of} has {point} messages instead of {expected}"));
                }
                self.points_checked += 1;
            }
        }
        Ok(())
    }
}
