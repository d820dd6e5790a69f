//! What is asked of a store, in which order, and what is made of its answers. Nothing here waits but in the
//! store, so that blocking stores go through it in one poll.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::async_store::AsyncStore;
use super::error::{StoreError, StoreErrorKind};
use super::fate::Fate;
use crate::batch::{BatchId, FlushBatch};
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::failure::FlushError;
use crate::writer::Writer;

pub(super) const PRUNE_EVERY: u64 = 64;

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) prune_every: u64,
    state: Mutex<State>,
}

/// Guarded by its lock, which is never held while the store works.
#[derive(Debug, Default)]
struct State {
    /// The writers that are registered, and below which sequence each was pruned last.
    pruned_below: HashMap<Writer, u64>,
    /// Instances that a higher epoch has taken over from a writer of this sink, and which.
    taken_over: HashMap<u64, u64>,
    /// The last batch that was made void because it was given up.
    resolved: Option<Resolved>,
    housekeeping_failures: u64,
}

/// What the store said of a batch in doubt. All keys of a batch are given up one after the other, and if the
/// store is away one of them shall find that out for all.
#[derive(Debug, Clone)]
struct Resolved {
    batch: BatchId,
    epoch: u64,
    attempts: u32,
    fate: Option<Fate>,
}

impl Protocol {
    pub(super) fn new() -> Self {
        Protocol { prune_every: PRUNE_EVERY, state: Mutex::default() }
    }

    pub(super) fn housekeeping_failures(&self) -> u64 {
        self.state.lock().housekeeping_failures
    }

    /// Succeeds when the batch counts, by this attempt or by an earlier one.
    pub(super) async fn flush<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        batch: &FlushBatch<K, V>,
    ) -> Result<(), FlushError> {
        let writer = batch.writer();
        if let Some(by) = self.superseded(writer) {
            return answer(batch, Fate::Superseded { by }, None);
        }
        let known = self.state.lock().pruned_below.contains_key(&writer);
        if !known {
            self.register(store, writer).await.map_err(unknown)?;
        }
        let mut applied = store.apply(batch).await;
        // An instance that was quiet for long can be forgotten. That its batches count once is certain only for
        // those of which no attempt was made before.
        if matches!(applied, Ok(Fate::Unregistered)) && batch.attempt() == 1 {
            self.register(store, writer).await.map_err(unknown)?;
            applied = store.apply(batch).await;
        }
        let answer = match applied {
            Ok(fate) => self.answer(batch, fate, None),
            Err(error) => self.refuse(store, batch, error).await,
        };
        if answer.is_ok() {
            self.prune(store, batch).await;
        }
        answer
    }

    pub(super) async fn register<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        writer: Writer,
    ) -> Result<(), StoreError> {
        let epoch = store.register(writer).await?;
        if epoch > writer.epoch {
            self.note(writer, &Fate::Superseded { by: epoch });
            return Err(StoreError::unknown(taken_over(writer.instance, epoch)));
        }
        self.state.lock().pruned_below.entry(writer).or_insert(0);
        Ok(())
    }

    /// By which epoch, if the sink has been told so. Epochs only rise: the store need not be asked again.
    fn superseded(&self, writer: Writer) -> Option<u64> {
        self.state.lock().taken_over.get(&writer.instance).copied().filter(|&by| by > writer.epoch)
    }

    fn note(&self, writer: Writer, fate: &Fate) {
        if let Fate::Superseded { by } = *fate {
            let mut state = self.state.lock();
            let highest = state.taken_over.entry(writer.instance).or_insert(by);
            *highest = by.max(*highest);
        }
    }

    /// Decides what the buffer may do with a batch whose attempt failed.
    ///
    /// As long as it is sent again under its id nothing can go wrong. Before its keys go on under other ids the id is
    /// made void: an earlier attempt, whose answer was lost, may have been applied or may yet arrive.
    async fn refuse<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        batch: &FlushBatch<K, V>,
        error: StoreError,
    ) -> Result<(), FlushError> {
        match error.kind() {
            StoreErrorKind::Unknown => Err(unknown(error)),
            // Halved only if no earlier attempt ended unknown, which the buffer knows.
            StoreErrorKind::RolledBack => Err(FlushError::not_applied(error.into_cause())),
            StoreErrorKind::Rejected => match store.void(batch.id(), batch.epoch()).await {
                Ok(fate) => self.answer(batch, fate, Some(error.into_cause())),
                Err(error) => Err(unknown(error)),
            },
        }
    }

    fn answer<K, V>(
        &self,
        batch: &FlushBatch<K, V>,
        fate: Fate,
        rejected: Option<Cause>,
    ) -> Result<(), FlushError> {
        self.note(batch.writer(), &fate);
        answer(batch, fate, rejected)
    }

    /// What fails here is done with the next one.
    async fn prune<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        batch: &FlushBatch<K, V>,
    ) {
        let (writer, settled_below) = (batch.writer(), batch.settled_below());
        {
            let mut state = self.state.lock();
            let Some(pruned_below) = state.pruned_below.get_mut(&writer) else { return };
            if settled_below.saturating_sub(*pruned_below) < self.prune_every {
                return;
            }
            *pruned_below = settled_below;
        }
        let pruned = store.prune(writer, settled_below).await;
        self.note_housekeeping(&pruned);
    }

    /// What is given up must not count later: whether it does already is decided here, for good. What a successor has
    /// is not given up at all.
    pub(super) async fn give_up<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        mut letter: DeadLetter<K, V>,
    ) -> Verdict<K, V> {
        if self.superseded(letter.writer()).is_some() {
            return Verdict::Keep(letter);
        }
        if letter.may_be_applied() {
            match self.resolve(store, &letter).await {
                Some(Fate::Void) => {}
                Some(Fate::AppliedExcept(rejections))
                    if rejections.iter().any(|rejection| rejection.place == letter.place()) => {}
                // It is where it should be.
                Some(Fate::Applied | Fate::AppliedExcept(_)) => return Verdict::Forget,
                // Nobody knows: it stays as it is, and can be sent again.
                _ => return Verdict::Keep(letter),
            }
            letter.dispel_doubt();
        }
        store.handle_error(letter).await
    }

    async fn resolve<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        letter: &DeadLetter<K, V>,
    ) -> Option<Fate> {
        let (batch, epoch, attempts) = (letter.batch(), letter.epoch(), letter.attempts());
        let same =
            |before: &Resolved| (before.batch, before.epoch, before.attempts) == (batch, epoch, attempts);
        // The first key of all asks anew: the batch may be given up for the second time.
        let before = self.state.lock().resolved.clone().filter(|_| letter.place() > 0);
        if let Some(before) = before.filter(same) {
            return before.fate;
        }
        let fate = self.void(store, letter).await.ok();
        self.state.lock().resolved = Some(Resolved { batch, epoch, attempts, fate: fate.clone() });
        fate
    }

    async fn void<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        letter: &DeadLetter<K, V>,
    ) -> Result<Fate, StoreError> {
        let writer = letter.writer();
        // Given up in an earlier life, it can be here before any batch of this one. In the first life a batch came first.
        let known = self.state.lock().pruned_below.contains_key(&writer);
        if !known && writer.epoch > 1 {
            self.register(store, writer).await?;
        }
        let fate = store.void(letter.batch(), letter.epoch()).await?;
        self.note(writer, &fate);
        Ok(fate)
    }

    /// Dead letters and leftovers may name batches, whose records are wanted then. An instance that was started before
    /// is known to the ledger even if this start of it had nothing to send.
    pub(super) async fn retire<K: Send + Sync, V: Send + Sync>(
        &self,
        store: &impl AsyncStore<K, V>,
        retirement: &Retirement,
    ) {
        let writer = retirement.writer();
        let known = self.state.lock().pruned_below.remove(&writer).is_some() || writer.epoch > 1;
        if self.superseded(writer).is_some() {
            self.state.lock().taken_over.remove(&writer.instance);
        } else if known && retirement.undelivered == 0 {
            let retired = store.retire(writer).await;
            self.note_housekeeping(&retired);
        }
    }

    fn note_housekeeping(&self, done: &Result<(), StoreError>) {
        self.state.lock().housekeeping_failures += u64::from(done.is_err());
    }
}

/// What the buffer is told. `rejected`: why the store has refused the batch just now.
fn answer<K, V>(batch: &FlushBatch<K, V>, fate: Fate, rejected: Option<Cause>) -> Result<(), FlushError> {
    let id = batch.id();
    match (fate, rejected) {
        (Fate::Applied, _) => Ok(()),
        (Fate::AppliedExcept(rejections), _) => {
            let mut failed = Vec::with_capacity(rejections.len());
            for rejection in rejections {
                let outside = || format!("the ledger says that batch {id} has an entry {}", rejection.place);
                let entry = batch.entries().get(rejection.place).ok_or_else(outside)?;
                failed.push(entry.failed(FlushError::never_applied(rejection.reason).give_up()));
            }
            FlushError::entries(failed)
        }
        // It would be rejected again.
        (Fate::Void, Some(cause)) if batch.len() == 1 => Err(FlushError::never_applied(cause).give_up()),
        (Fate::Void, Some(cause)) => Err(FlushError::never_applied(cause)),
        (Fate::Void, None) => {
            Err(FlushError::never_applied(format!("batch {id} was made void by an earlier attempt")))
        }
        (Fate::Settled, _) => Err(format!("the ledger takes batch {id} for settled").into()),
        (Fate::Unregistered, _) => Err(format!("the ledger has forgotten the instance of batch {id}").into()),
        (Fate::Superseded { by }, _) => Err(taken_over(id.instance, by).into()),
    }
}

fn taken_over(instance: u64, by: u64) -> String {
    format!("epoch {by} of instance {instance:016x} has taken over")
}

fn unknown(error: StoreError) -> FlushError {
    FlushError::unknown(error.into_cause())
}
