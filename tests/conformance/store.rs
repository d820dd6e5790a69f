//! A storage with transactions: totals, and a ledger of batches. What a transaction does wrong is chosen.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use write_behind::{BatchId, FlushError, Retirement};

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// Right: says `unknown` of what was refused.
    SaysUnknown,
    /// Right: says `not_applied` of what was refused.
    SaysNotApplied,
    /// Right: writes the others, and remembers what it answered.
    SaysEntries,
    /// Right: puts dead letters back.
    Requeues,
    /// Right: takes dead letters.
    Forgets,
    NoLedger,
    /// The new total is what was to be added.
    Overwrites,
    AlwaysFails,
    /// `Ok`, whatever has happened.
    SwallowsErrors,
    /// Keeps only what is not older than the batch at hand.
    PrunesTooEarly,
    /// Applies what was settled and pruned.
    NoGate,
    /// Takes what is below the highest sequence for applied.
    HighestOnly,
    /// The ledger dies with the process.
    InMemory,
    NoInstance,
    /// What one instance has settled holds for all.
    OneGate,
    /// The end of an instance clears the whole ledger.
    RetiresAll,
    /// `never_applied` without a record of it.
    NoVoid,
    /// `never_applied` without a look at whether it was applied.
    VoidsApplied,
    /// `not_applied` although the keys before the refused one were written.
    WritesHalf,
    /// Says `entries` once, and `Ok` when it is asked again.
    ForgetsEntries,
    /// Data and record are two transactions, in this order.
    AddsThenRecords,
    RecordsThenAdds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Applied, but for these places.
    Applied(Vec<usize>),
    Void,
}

#[derive(Default)]
pub(crate) struct Tables {
    totals: HashMap<String, i64>,
    ledger: Ledger,
    refused: Option<String>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    fates: BTreeMap<(u64, u64), Fate>,
    settled: HashMap<u64, u64>,
    highest: HashMap<u64, u64>,
}

#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Tables>>);

/// One attempt, as the storage sees it.
pub(crate) struct Statement {
    pub(crate) id: BatchId,
    pub(crate) settled_below: u64,
    pub(crate) rows: Vec<(String, i64)>,
}

/// How a statement ended.
pub(crate) enum End {
    Done,
    Failed(FlushError),
    /// These places.
    FailedAt(Vec<usize>),
}

impl Store {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> HashMap<String, i64> {
        self.tables().totals.clone()
    }

    pub(crate) fn refuse(&self, key: Option<&String>) {
        self.tables().refused = key.cloned();
    }

    pub(crate) fn retire(&self, retirement: &Retirement, flaw: Flaw) {
        let mut tables = self.tables();
        if flaw == Flaw::RetiresAll {
            tables.ledger = Ledger::default();
        } else if retirement.undelivered == 0 {
            let instance = retirement.instance;
            tables.ledger.fates.retain(|id, _| id.0 != instance);
        }
    }

    /// The transaction. `memory` is a ledger that dies with the process.
    pub(crate) fn apply(&self, statement: &Statement, flaw: Flaw, memory: &Mutex<Ledger>) -> End {
        let mut tables = self.tables();
        let Tables { totals, ledger, refused } = &mut *tables;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = if flaw == Flaw::InMemory { &mut *memory } else { ledger };
        if flaw == Flaw::AlwaysFails {
            return End::Failed("closed for today".into());
        }
        let refused = places_of(statement, refused.as_deref());
        if refused.is_empty() || flaw != Flaw::VoidsApplied {
            if let Some(end) = ledger.remembers(statement, flaw) {
                return end;
            }
        }
        ledger.prune(statement, flaw);
        if refused.is_empty() || matches!(flaw, Flaw::SaysEntries | Flaw::ForgetsEntries) {
            ledger.record(statement.id, Fate::Applied(refused.clone()), flaw);
            add(totals, statement, &refused, flaw);
            return if refused.is_empty() { End::Done } else { End::FailedAt(refused) };
        }
        if flaw == Flaw::WritesHalf {
            let rest: Vec<usize> = (refused[0]..statement.rows.len()).collect();
            add(totals, statement, &rest, flaw);
        }
        ledger.refuse(statement, flaw)
    }

    /// Half of a transaction that was torn apart.
    pub(crate) fn only_add(&self, statement: &Statement) {
        add(&mut self.tables().totals, statement, &[], Flaw::Nothing);
    }

    pub(crate) fn only_record(&self, statement: &Statement) {
        self.tables().ledger.record(statement.id, Fate::Applied(Vec::new()), Flaw::Nothing);
    }

    pub(crate) fn knows(&self, statement: &Statement) -> bool {
        self.tables().ledger.remembers(statement, Flaw::Nothing).is_some()
    }
}

fn places_of(statement: &Statement, refused: Option<&str>) -> Vec<usize> {
    let poisoned = |key: &str| Some(key) == refused || key.starts_with("poison");
    (0..).zip(&statement.rows).filter(|(_, row)| poisoned(&row.0)).map(|(place, _)| place).collect()
}

fn add(totals: &mut HashMap<String, i64>, statement: &Statement, without: &[usize], flaw: Flaw) {
    for (place, (key, amount)) in statement.rows.iter().enumerate() {
        if without.contains(&place) {
            continue;
        }
        let total = totals.entry(key.clone()).or_default();
        *total = if flaw == Flaw::Overwrites { *amount } else { *total + amount };
    }
}

impl Ledger {
    fn key(id: BatchId, flaw: Flaw) -> (u64, u64) {
        (if flaw == Flaw::NoInstance { 0 } else { id.instance }, id.sequence)
    }

    /// What is answered to a batch that is known already.
    fn remembers(&self, statement: &Statement, flaw: Flaw) -> Option<End> {
        let (instance, sequence) = Self::key(statement.id, flaw);
        if flaw == Flaw::NoLedger {
            return None;
        }
        if flaw == Flaw::HighestOnly {
            return self.highest.get(&instance).filter(|highest| sequence <= **highest).map(|_| End::Done);
        }
        let gate = if flaw == Flaw::OneGate { 0 } else { instance };
        if flaw != Flaw::NoGate && self.settled.get(&gate).is_some_and(|settled| sequence < *settled) {
            return Some(End::Done);
        }
        self.fates.get(&(instance, sequence)).map(|fate| match fate {
            Fate::Applied(without) if without.is_empty() || flaw == Flaw::ForgetsEntries => End::Done,
            Fate::Applied(without) => End::FailedAt(without.clone()),
            Fate::Void => End::Failed(void(statement)),
        })
    }

    fn prune(&mut self, statement: &Statement, flaw: Flaw) {
        let (instance, sequence) = Self::key(statement.id, flaw);
        let settled = if flaw == Flaw::PrunesTooEarly { sequence } else { statement.settled_below };
        self.fates.retain(|id, _| id.0 != instance || id.1 >= settled);
        if flaw != Flaw::PrunesTooEarly && flaw != Flaw::NoInstance {
            let gate = if flaw == Flaw::OneGate { 0 } else { instance };
            let highest = self.settled.entry(gate).or_default();
            *highest = settled.max(*highest);
        }
    }

    fn record(&mut self, id: BatchId, fate: Fate, flaw: Flaw) {
        let (instance, sequence) = Self::key(id, flaw);
        self.fates.insert((instance, sequence), fate);
        let highest = self.highest.entry(instance).or_default();
        *highest = sequence.max(*highest);
    }

    /// The storage has refused a key, and the transaction was rolled back.
    fn refuse(&mut self, statement: &Statement, flaw: Flaw) -> End {
        let cause = "constraint violated";
        match flaw {
            Flaw::SwallowsErrors => End::Done,
            Flaw::SaysUnknown | Flaw::AddsThenRecords | Flaw::RecordsThenAdds => End::Failed(cause.into()),
            Flaw::SaysNotApplied | Flaw::WritesHalf => End::Failed(FlushError::not_applied(cause)),
            Flaw::NoVoid => End::Failed(void(statement)),
            _ => {
                self.record(statement.id, Fate::Void, flaw);
                End::Failed(void(statement))
            }
        }
    }
}

/// A single key has no other id to go on under.
fn void(statement: &Statement) -> FlushError {
    let error = FlushError::never_applied("made void");
    if statement.rows.len() == 1 { error.give_up() } else { error }
}
