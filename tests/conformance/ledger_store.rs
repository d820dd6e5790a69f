//! Totals and a ledger in memory, as a store under the protocol. What it does wrong is chosen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::yield_now;
use write_behind::exactly_once::{AsyncStore, Fate, Rejection, Store, StoreError};
use write_behind::{BatchId, DeadLetter, FlushBatch, Sum, Verdict, Writer};

type Batch = FlushBatch<String, Sum<i64>>;

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Right: applies the others and names what it refuses.
    NamesTheRefused,
    /// Right: says that others were in the way.
    RollsBack,
    /// Right: puts back what is given up.
    PutsBack,
    /// Right: takes what is given up.
    Takes,
    /// Right: the connection breaks in each first attempt, with the transaction done, and in every other void,
    /// with nothing done.
    BreaksOff,
    NoLedger,
    /// Says that a batch is void, and does not record it.
    NoVoid,
    /// Voids a batch when its halves are done: with the next tidying up.
    VoidsAfterTheSplit,
    /// Prunes as if everything older were settled.
    PrunesTooEarly,
    /// Prunes, and lets the gate where it was.
    NoGate,
    /// Remembers that a batch was applied, and not what was refused of it.
    ForgetsTheRefused,
    /// Rejects a batch with half of it written.
    WritesHalf,
    /// Says that a batch was rejected although it does not know.
    RejectsTooLightly,
    /// Applies what comes of a lower epoch.
    AppliesForTheReplaced,
    /// Makes void what a lower epoch gives up.
    VoidsForTheReplaced,
    /// Forgets the instance when a lower epoch retires.
    RetiresForTheReplaced,
    /// Takes whoever registers last for the highest epoch.
    LowersTheEpoch,
    /// The epoch is that of who registered first.
    KeepsTheEpoch,
}

/// What the ledger knows of an instance.
#[derive(Default)]
struct Known {
    epoch: u64,
    gate: u64,
}

#[derive(Default)]
struct Tables {
    totals: HashMap<String, i64>,
    instances: HashMap<u64, Known>,
    fates: HashMap<BatchId, Fate>,
    refused: Option<String>,
    /// The last void was broken off.
    broken_off: bool,
    /// To be made void later.
    postponed: Vec<BatchId>,
}

#[derive(Clone)]
pub(crate) struct LedgerStore {
    tables: Arc<Mutex<Tables>>,
    fault: Fault,
}

impl LedgerStore {
    pub(crate) fn new(fault: Fault) -> Self {
        LedgerStore { tables: Arc::default(), fault }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> HashMap<String, i64> {
        self.tables().totals.clone()
    }

    pub(crate) fn refuse(&self, key: Option<&String>) {
        self.tables().refused = key.cloned();
    }

    /// How many fates the ledger holds, and how many instances.
    pub(crate) fn records(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.fates.len(), tables.instances.len())
    }

    /// What the ledger says of instance 7: its epoch and its gate.
    pub(crate) fn seven(&self) -> (u64, u64) {
        let tables = self.tables();
        let known = &tables.instances[&7];
        (known.epoch, known.gate)
    }

    /// As if all instances had been quiet for very long.
    pub(crate) fn forget_all(&self) {
        let mut tables = self.tables();
        tables.instances.clear();
        tables.fates.clear();
    }
}

impl Tables {
    /// `epoch`: of the one who asks.
    fn fate(&self, id: BatchId, epoch: u64) -> Option<Fate> {
        let known = self.instances.get(&id.instance);
        let Some(known) = known.filter(|known| known.epoch >= epoch) else { return Some(Fate::Unregistered) };
        if known.epoch > epoch {
            return Some(Fate::Superseded { by: known.epoch });
        }
        let settled = || (id.sequence < known.gate).then_some(Fate::Settled);
        self.fates.get(&id).cloned().or_else(settled)
    }

    /// As if nobody had taken over.
    fn fate_for_anyone(&self, id: BatchId) -> Option<Fate> {
        let highest = self.instances.get(&id.instance).map_or(0, |known| known.epoch);
        self.fate(id, highest)
    }

    fn is_replaced(&self, writer: Writer) -> bool {
        self.instances.get(&writer.instance).is_some_and(|known| known.epoch > writer.epoch)
    }

    fn is_refused(&self, key: &str) -> bool {
        self.refused.as_deref() == Some(key) || key.starts_with("poison")
    }

    fn add(&mut self, batch: &Batch, without: &[usize]) {
        for (place, entry) in batch.entries().iter().enumerate() {
            if !without.contains(&place) {
                *self.totals.entry(entry.key().clone()).or_default() += entry.data().0;
            }
        }
    }
}

impl Store<String, Sum<i64>> for LedgerStore {
    fn register(&self, Writer { instance, epoch, .. }: Writer) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let known = tables.instances.entry(instance).or_insert(Known { epoch, gate: 0 });
        match self.fault {
            Fault::LowersTheEpoch => known.epoch = epoch,
            Fault::KeepsTheEpoch => {}
            _ => known.epoch = epoch.max(known.epoch),
        }
        // Who applies for them takes them for registered.
        let heard = self.fault == Fault::AppliesForTheReplaced;
        Ok(if heard { epoch } else { known.epoch })
    }

    fn apply(&self, batch: &Batch) -> Result<Fate, StoreError> {
        let mut tables = self.tables();
        let (id, fault) = (batch.id(), self.fault);
        let fate = match fault {
            Fault::AppliesForTheReplaced => tables.fate_for_anyone(id),
            _ => tables.fate(id, batch.epoch()),
        };
        if let Some(fate) = fate.filter(|_| fault != Fault::NoLedger) {
            return Ok(fate);
        }
        if fault == Fault::PrunesTooEarly {
            tables.fates.retain(|other, _| other.instance != id.instance || other.sequence >= id.sequence);
        }
        let places = 0..batch.len();
        let refused: Vec<_> =
            places.filter(|&place| tables.is_refused(batch.entries()[place].key())).collect();
        let names = matches!(fault, Fault::NamesTheRefused | Fault::ForgetsTheRefused);
        let fate = match refused.as_slice() {
            [] => Fate::Applied,
            [..] if names => {
                Fate::AppliedExcept(refused.iter().map(|&place| Rejection::new(place, "forbidden")).collect())
            }
            [..] if fault == Fault::RollsBack => return Err(StoreError::rolled_back("in the way")),
            [first, ..] => {
                if fault == Fault::WritesHalf {
                    let rest: Vec<_> = (*first..batch.len()).collect();
                    tables.add(batch, &rest);
                }
                return Err(StoreError::rejected("forbidden"));
            }
        };
        tables.add(batch, &refused);
        let record = if fault == Fault::ForgetsTheRefused { Fate::Applied } else { fate.clone() };
        tables.fates.insert(id, record);
        if fault == Fault::BreaksOff && batch.attempt() == 1 {
            return Err("connection reset".into());
        }
        if fault == Fault::RejectsTooLightly && batch.attempt() == 2 && batch.len() > 1 {
            tables.fates.insert(id, Fate::Void);
            return Err(StoreError::rejected("a broken connection"));
        }
        Ok(fate)
    }

    fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        let mut tables = self.tables();
        let fate = match self.fault {
            Fault::VoidsForTheReplaced => tables.fate_for_anyone(batch),
            _ => tables.fate(batch, epoch),
        };
        match self.fault {
            Fault::NoVoid => return Ok(fate.unwrap_or(Fate::Void)),
            Fault::VoidsAfterTheSplit => tables.postponed.push(batch),
            Fault::BreaksOff if !tables.broken_off => {
                tables.broken_off = true;
                return Err("connection refused".into());
            }
            _ => {
                tables.broken_off = false;
                if let Some(fate) = fate {
                    return Ok(fate);
                }
            }
        }
        if self.fault != Fault::VoidsAfterTheSplit {
            tables.fates.insert(batch, Fate::Void);
        }
        Ok(Fate::Void)
    }

    fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for late in std::mem::take(&mut tables.postponed) {
            tables.fates.entry(late).or_insert(Fate::Void);
        }
        if tables.is_replaced(writer) {
            return Ok(());
        }
        let Some(known) = tables.instances.get_mut(&writer.instance) else { return Ok(()) };
        if self.fault != Fault::NoGate {
            known.gate = settled_below.max(known.gate);
        }
        tables.fates.retain(|id, _| id.instance != writer.instance || id.sequence >= settled_below);
        Ok(())
    }

    fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.is_replaced(writer) && self.fault != Fault::RetiresForTheReplaced {
            return Ok(());
        }
        tables.instances.remove(&writer.instance);
        tables.fates.retain(|id, _| id.instance != writer.instance);
        Ok(())
    }

    fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        match self.fault {
            Fault::PutsBack => Verdict::Requeue(letter),
            Fault::Takes => Verdict::Forget,
            _ => Verdict::Keep(letter),
        }
    }
}

/// The same, with a place to be cancelled at before and after each transaction.
pub(crate) struct AsyncLedgerStore(pub(crate) LedgerStore);

impl AsyncStore<String, Sum<i64>> for AsyncLedgerStore {
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        yield_now().await;
        let registered = self.0.register(writer);
        yield_now().await;
        registered
    }

    async fn apply(&self, batch: &Batch) -> Result<Fate, StoreError> {
        yield_now().await;
        let fate = self.0.apply(batch);
        yield_now().await;
        fate
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        yield_now().await;
        let fate = self.0.void(batch, epoch);
        yield_now().await;
        fate
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        yield_now().await;
        let pruned = self.0.prune(writer, settled_below);
        yield_now().await;
        pruned
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        self.0.retire(writer)
    }

    async fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
        yield_now().await;
        self.0.handle_error(letter)
    }
}
