//! A database in memory: totals, a ledger, and what goes wrong with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use write_behind::exactly_once::{Fate, Store, StoreError};
use write_behind::journal::SimulatedDisk;
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
    /// Of the machine that calls. When it is down, nobody calls.
    caller: Option<SimulatedDisk>,
    calls: u64,
    dies: Option<Dies>,
}

/// Its caller is killed in a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dies {
    /// The call's number, from 0.
    pub(crate) at: u64,
    /// When the database has done what it is asked, or before.
    pub(crate) when_done: bool,
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

    /// Nothing is done for a caller whose machine is down.
    pub(crate) fn is_called_from(&self, disk: &SimulatedDisk) {
        self.tables().caller = Some(disk.clone());
    }

    pub(crate) fn kill_caller(&self, dies: Dies) {
        self.tables().dies = Some(dies);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.tables().calls
    }

    /// What a call comes to.
    fn call<T>(&self, act: impl FnOnce(&mut Tables) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut tables = self.tables();
        if !tables.begins() {
            return Err(StoreError::unknown("nobody has called"));
        }
        let answer = act(&mut tables);
        if tables.ends() { answer } else { Err(StoreError::unknown("nobody is there for the answer")) }
    }

    /// How many fates are recorded, and how many writers.
    pub(crate) fn records(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.fates.len(), tables.writers.len())
    }
}

impl Tables {
    /// Whether there is somebody who calls.
    fn begins(&mut self) -> bool {
        let at = self.calls;
        self.calls += 1;
        self.lives_through(|dies| dies.at == at && !dies.when_done)
    }

    fn ends(&mut self) -> bool {
        let at = self.calls - 1;
        self.lives_through(|dies| dies.at == at && dies.when_done)
    }

    fn lives_through(&self, is_now: impl FnOnce(&Dies) -> bool) -> bool {
        let Some(caller) = &self.caller else { return true };
        if self.dies.as_ref().is_some_and(is_now) {
            caller.kill();
        }
        !caller.is_down()
    }

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
        self.call(|tables| tables.register(writer))
    }

    fn apply(&self, batch: &Batch) -> Result<Fate, StoreError> {
        self.call(|tables| tables.apply(batch))
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        self.call(|tables| tables.void(batch, epoch))
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        self.call(|tables| {
            tables.prune(writer, settled_below);
            Ok(())
        })
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.call(|tables| {
            tables.retire(writer);
            Ok(())
        })
    }

    fn handle_error(&self, letter: DeadLetter<u64, Sum<i64>>) -> Verdict<u64, Sum<i64>> {
        let mut tables = self.tables();
        assert!(!letter.may_be_applied());
        let is_kept = !tables.begins() || matches!(tables.mood(), Mood::RollsBack | Mood::LosesAnswers);
        if !is_kept {
            tables.letters.push((letter.batch(), *letter.key(), letter.data().0));
        }
        let is_heard = tables.ends();
        if is_kept || !is_heard { Verdict::Keep(letter) } else { Verdict::Forget }
    }
}

/// What is done for a caller.
impl Tables {
    fn register(&mut self, writer: Writer) -> Result<u64, StoreError> {
        if self.mood() == Mood::Away {
            return Err(StoreError::unknown("away"));
        }
        let (epoch, _) = self.writers.entry(writer.instance).or_default();
        *epoch = writer.epoch.max(*epoch);
        Ok(*epoch)
    }

    fn apply(&mut self, batch: &Batch) -> Result<Fate, StoreError> {
        let by_a_zombie = matches!(self.fate(batch.id(), batch.epoch()), Some(Fate::Superseded { .. }));
        if !by_a_zombie {
            self.check(batch);
        }
        let mood = self.mood();
        match mood {
            Mood::Away => return Err(StoreError::unknown("away")),
            Mood::RollsBack => return Err(StoreError::rolled_back("a deadlock")),
            _ => {}
        }
        let fate = match self.fate(batch.id(), batch.epoch()) {
            Some(fate) => fate,
            None if mood == Mood::RefusesOddKeys
                && batch.entries().iter().any(|entry| entry.key() % 2 == 1) =>
            {
                return Err(StoreError::rejected("an odd key"));
            }
            None => {
                for entry in batch.entries() {
                    *self.totals.entry(*entry.key()).or_default() += entry.data().0;
                }
                self.fates.insert(batch.id(), Fate::Applied);
                Fate::Applied
            }
        };
        if mood == Mood::LosesAnswers { Err(StoreError::unknown("lost")) } else { Ok(fate) }
    }

    fn void(&mut self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        if self.mood() == Mood::Away {
            return Err(StoreError::unknown("away"));
        }
        let fate = self.fate(batch, epoch);
        Ok(fate.unwrap_or_else(|| self.fates.entry(batch).or_insert(Fate::Void).clone()))
    }

    fn prune(&mut self, writer: Writer, settled_below: u64) {
        let instance = writer.instance;
        if let Some((_, gate)) = self.writers.get_mut(&instance) {
            *gate = settled_below.max(*gate);
            self.fates.retain(|id, _| id.instance != instance || id.sequence >= settled_below);
        }
    }

    fn retire(&mut self, Writer { instance, .. }: Writer) {
        self.writers.remove(&instance);
        self.fates.retain(|id, _| id.instance != instance);
    }
}
