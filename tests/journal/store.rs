//! A database in memory: totals, a ledger, and what goes wrong with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use write_behind::exactly_once::{Fate, Store, StoreError};
use write_behind::{BatchId, DeadLetter, FlushBatch, Sum, Verdict, Writer};

pub(crate) type Batch = FlushBatch<u64, Sum<i64>>;

/// How the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// It does what it is asked, and the answer is lost.
    LosesAnswers,
    /// Nothing is done, and nobody knows.
    Away,
    /// Others were in the way.
    RollsBack,
    /// Batches with odd keys are refused.
    RefusesOddKeys,
}

#[derive(Default)]
struct Tables {
    totals: BTreeMap<u64, i64>,
    /// The epoch and the lowest sequence that is not settled.
    writers: HashMap<u64, (u64, u64)>,
    fates: HashMap<BatchId, Fate>,
    mood: Option<Mood>,
    /// The content that was sent under each id.
    sent: HashMap<BatchId, Vec<(u64, i64)>>,
    letters: Vec<(BatchId, u64, i64)>,
    /// The lowest `settled_below` that must not be undercut.
    settled_below: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Database(Arc<Mutex<Tables>>);

impl Database {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.tables().mood = Some(mood);
    }

    pub(crate) fn totals(&self) -> BTreeMap<u64, i64> {
        self.tables().totals.clone()
    }

    pub(crate) fn total(&self, key: u64) -> i64 {
        self.tables().totals.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn letters(&self) -> Vec<(BatchId, u64, i64)> {
        self.tables().letters.clone()
    }

    /// How many fates are recorded, and how many writers.
    pub(crate) fn records(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.fates.len(), tables.writers.len())
    }
}

impl Tables {
    fn mood(&self) -> Mood {
        self.mood.unwrap_or(Mood::Well)
    }

    fn fate(&self, id: BatchId, epoch: u64) -> Option<Fate> {
        let Some(&(current, settled_below)) = self.writers.get(&id.instance) else {
            return Some(Fate::Unregistered);
        };
        if current != epoch {
            let superseded = current > epoch;
            return Some(if superseded { Fate::Superseded { by: current } } else { Fate::Unregistered });
        }
        let settled = (id.sequence < settled_below).then_some(Fate::Settled);
        self.fates.get(&id).cloned().or(settled)
    }

    /// The same id stands for the same content, and `settled_below` never goes back.
    fn check(&mut self, batch: &Batch) {
        let content: Vec<_> = batch.entries().iter().map(|entry| (*entry.key(), entry.data().0)).collect();
        let before = self.sent.entry(batch.id()).or_insert_with(|| content.clone());
        assert_eq!(*before, content, "batch {} was sent with another content", batch.id());
        let below = batch.settled_below();
        assert!(
            below >= self.settled_below,
            "settled_below went back from {} to {below}",
            self.settled_below
        );
        assert!(batch.id().sequence >= below, "batch {} was said to be settled", batch.id());
        self.settled_below = below;
    }
}

impl Store<u64, Sum<i64>> for Database {
    fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        if tables.mood() == Mood::Away {
            return Err(StoreError::unknown("away"));
        }
        let (epoch, _) = tables.writers.entry(writer.instance).or_default();
        *epoch = writer.epoch.max(*epoch);
        Ok(*epoch)
    }

    fn apply(&self, batch: &Batch) -> Result<Fate, StoreError> {
        let mut tables = self.tables();
        let by_a_zombie = matches!(tables.fate(batch.id(), batch.epoch()), Some(Fate::Superseded { .. }));
        if !by_a_zombie {
            tables.check(batch);
        }
        let mood = tables.mood();
        match mood {
            Mood::Away => return Err(StoreError::unknown("away")),
            Mood::RollsBack => return Err(StoreError::rolled_back("a deadlock")),
            _ => {}
        }
        let fate = match tables.fate(batch.id(), batch.epoch()) {
            Some(fate) => fate,
            None if mood == Mood::RefusesOddKeys
                && batch.entries().iter().any(|entry| entry.key() % 2 == 1) =>
            {
                return Err(StoreError::rejected("an odd key"));
            }
            None => {
                for entry in batch.entries() {
                    *tables.totals.entry(*entry.key()).or_default() += entry.data().0;
                }
                tables.fates.insert(batch.id(), Fate::Applied);
                Fate::Applied
            }
        };
        if mood == Mood::LosesAnswers { Err(StoreError::unknown("lost")) } else { Ok(fate) }
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        let mut tables = self.tables();
        if tables.mood() == Mood::Away {
            return Err(StoreError::unknown("away"));
        }
        let fate = tables.fate(batch, epoch);
        Ok(fate.unwrap_or_else(|| tables.fates.entry(batch).or_insert(Fate::Void).clone()))
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let instance = writer.instance;
        let mut tables = self.tables();
        if let Some((_, gate)) = tables.writers.get_mut(&instance) {
            *gate = settled_below.max(*gate);
            tables.fates.retain(|id, _| id.instance != instance || id.sequence >= settled_below);
        }
        Ok(())
    }

    fn retire(&self, Writer { instance, .. }: Writer) -> Result<(), StoreError> {
        let mut tables = self.tables();
        tables.writers.remove(&instance);
        tables.fates.retain(|id, _| id.instance != instance);
        Ok(())
    }

    fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        let mut tables = self.tables();
        assert!(!letter.may_be_applied());
        if matches!(tables.mood(), Mood::RollsBack | Mood::LosesAnswers) {
            return Verdict::Keep(letter);
        }
        tables.letters.push((letter.batch(), *letter.key(), letter.data().0));
        Verdict::Forget
    }
}
