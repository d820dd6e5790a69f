//! What was inserted, what became of it, and which call did what.

use std::collections::BTreeMap;

use super::process::{Lot, Sent};
use super::report::Delivery;
use crate::batch::BatchId;
use crate::failure::{Effect, Scope};

/// What befell a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    /// The answer was heard.
    Heard,
    /// The attempt was delivered a second time.
    Again,
    AnswerLost,
    /// It is not delivered before others are.
    UnderWay,
    /// It comes when nobody expects it any more.
    Late,
    /// The callback is dropped after so many polls, if it has not completed by then.
    Cancelled(u32),
}

/// A call of the sink.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) batch: BatchId,
    pub(super) attempt: u32,
    /// How often the process had died when it was made.
    pub(super) restarts: u32,
    /// The batch in which its inserts were sent first.
    pub(super) origin: BatchId,
    pub(super) luck: Luck,
    /// `None` if it was cancelled.
    pub(super) answer: Option<String>,
    /// By how much it raised which keys.
    pub(super) added: BTreeMap<u32, i64>,
}

/// The inserts into one key that were sent together.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Account {
    inserted: i64,
    applied: i64,
    /// Taken by `handle_error`, or kept: never applied, or maybe.
    handed: i64,
    in_doubt: i64,
}

impl Account {
    /// By how many inserts too much was applied, negative if too little.
    pub(super) fn surplus(&self) -> i64 {
        let most = self.inserted - self.handed;
        let least = most - self.in_doubt;
        (self.applied - most).max(0) + (self.applied - least).min(0)
    }

    fn add(&mut self, other: &Account) {
        self.inserted += other.inserted;
        self.applied += other.applied;
        self.handed += other.handed;
        self.in_doubt += other.in_doubt;
    }
}

/// The books of one scenario.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// The totals at the last look.
    seen: BTreeMap<u32, i64>,
    pub(super) accounts: BTreeMap<(BatchId, u32), Account>,
    pub(super) calls: Vec<Call>,
    /// What changed while no call was made with the key.
    strays: BTreeMap<u32, i64>,
    /// The storage was made to refuse keys.
    pub(super) refused: bool,
    /// Numbers that have got the same key as another one.
    pub(super) clashes: Vec<(u32, u32)>,
}

impl Books {
    /// A key is used from here on, and this is what is there.
    pub(super) fn open(&mut self, key: u32, total: i64) {
        self.seen.insert(key, total);
    }

    pub(super) fn inserted(&mut self, origin: BatchId, lots: &[Lot]) {
        for lot in lots {
            self.accounts.entry((origin, lot.key)).or_default().inserted += lot.amount;
        }
    }

    pub(super) fn handed(&mut self, origin: BatchId, lot: &Lot, may_be_applied: bool) {
        let account = self.accounts.entry((origin, lot.key)).or_default();
        *if may_be_applied { &mut account.in_doubt } else { &mut account.handed } += lot.amount;
    }

    /// Looks at the totals, and returns what has changed.
    pub(super) fn look(&mut self, total: impl Fn(u32) -> i64) -> BTreeMap<u32, i64> {
        let mut changes = BTreeMap::new();
        for (&key, seen) in &mut self.seen {
            let change = total(key) - *seen;
            *seen += change;
            if change != 0 {
                changes.insert(key, change);
            }
        }
        changes
    }

    /// A call was made, and this has changed meanwhile.
    pub(super) fn called<K, V>(
        &mut self,
        sent: &Sent<K, V>,
        luck: Luck,
        answer: Option<&Result<(), Scope>>,
        mut changes: BTreeMap<u32, i64>,
    ) {
        let mut added = BTreeMap::new();
        for lot in &*sent.lots {
            if let Some(change) = changes.remove(&lot.key) {
                self.accounts.entry((sent.origin, lot.key)).or_default().applied += change;
                added.insert(lot.key, change);
            }
        }
        self.strayed(changes);
        let (batch, attempt) = (sent.batch.id(), sent.batch.attempt());
        let Sent { origin, restarts, .. } = *sent;
        let answer = answer.map(in_words);
        self.calls.push(Call { batch, attempt, restarts, origin, luck, answer, added });
    }

    /// This has changed although nobody was called.
    pub(super) fn strayed(&mut self, changes: BTreeMap<u32, i64>) {
        for (key, change) in changes {
            *self.strays.entry(key).or_default() += change;
        }
    }

    /// How often the inserts counted.
    pub(super) fn delivery(&self) -> Delivery {
        let (mut extra, mut missing, mut undelivered) = (0, 0, 0);
        for surplus in self.surpluses() {
            extra += surplus.max(0).unsigned_abs();
            missing += surplus.min(0).unsigned_abs();
        }
        for account in self.accounts.values().filter(|_| !self.refused) {
            undelivered += (account.handed + account.in_doubt).unsigned_abs();
        }
        match (missing, extra, undelivered) {
            (0, 0, 0) => Delivery::ExactlyOnce,
            (0, 0, inserts) => Delivery::Undelivered { inserts },
            (0, extra, _) => Delivery::AtLeastOnce { extra },
            (missing, extra, _) => Delivery::Lost { missing, extra },
        }
    }

    /// Per account, or per key if it changed behind our back.
    fn surpluses(&self) -> Vec<i64> {
        let mut strayed: BTreeMap<u32, Account> = BTreeMap::new();
        let mut surpluses = Vec::new();
        for ((_, key), account) in &self.accounts {
            if self.stray(*key) == 0 {
                surpluses.push(account.surplus());
            } else {
                strayed.entry(*key).or_default().add(account);
            }
        }
        for (key, mut account) in strayed {
            account.applied += self.stray(key);
            surpluses.push(account.surplus());
        }
        surpluses
    }

    pub(super) fn stray(&self, key: u32) -> i64 {
        self.strays.get(&key).copied().unwrap_or(0)
    }
}

fn in_words(answer: &Result<(), Scope>) -> String {
    match answer {
        Ok(()) => "Ok".to_owned(),
        Err(Scope::Entries(failed)) => {
            let (entries, cause) = (failed.len(), &failed[0].failure.cause);
            format!("`entries`, of which {entries} failed ({cause})")
        }
        Err(Scope::Batch(failure)) => {
            let effect = match failure.effect {
                Effect::Unknown => "`unknown`",
                Effect::NotApplied => "`not_applied`",
                Effect::NeverApplied => "`never_applied`",
            };
            let hopeless = if failure.hopeless { ", giving up" } else { "" };
            format!("{effect}{hopeless} ({})", failure.cause)
        }
    }
}
