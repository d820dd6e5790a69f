//! The one way in. Whatever is to stand between an insert and the table stands here.

use std::hash::BuildHasher;

use super::{Intake, Partition, ShardGuard, Spot};
use crate::aggregate::{Aggregate, fits_lanes};
use crate::batch::FlushReason;
use crate::driver::core::Core;
use crate::driver::sync::Ordering;
use crate::driver::user::context::Locked;
use crate::engine::shard::{Inserted, Lack, Need, Obstacle, Probe, Refused};
use crate::error::{InsertError, InsertErrorKind};
use crate::key::Key;
use crate::settings::Overflow;

/// How an insert ended. A refused one gives back what it was given.
pub(crate) type Insertion<P, I> = Result<(), InsertError<(P, I)>>;

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Inserts by the overflow policy.
    ///
    /// Only what absorbs is inlined, and that always: where the compiler chooses not to, an insert
    /// into a key that has data takes a tenth longer.
    #[inline(always)]
    pub(crate) fn insert<P: Probe<K>>(&self, spot: Spot, probe: P, item: V::Item) -> Insertion<P, V::Item> {
        if fits_lanes::<V>() && self.intake.lanes.are_on() {
            return match self.insert_staged(spot, &probe, item) {
                Ok(()) => Ok(()),
                Err(item) => self.insert_unstaged(spot, probe, item),
            };
        }
        let mut shard = self.intake.lock(spot.partition);
        match shard.absorb(spot.hash, &probe, item) {
            // What is displaced is dropped after the lock is released.
            Ok((Inserted::Absorbed, _displaced)) => {
                shard.release();
                Ok(())
            }
            Ok((inserted, _displaced)) => {
                drop(shard);
                self.follow_up(inserted);
                Ok(())
            }
            Err(refused) => self.insert_unabsorbed(spot, shard, probe, refused),
        }
    }

    /// Inserts in the thread's lane, if the key has a lease there. Inlined, which is 35 instructions less there and
    /// none more for an insert under the lock.
    #[inline(always)]
    fn insert_staged<P: Probe<K>>(&self, spot: Spot, probe: &P, item: V::Item) -> Result<(), V::Item> {
        let _locked = Intake::<K, V, S>::DROPS.then(|| Locked::by(self.intake.instance));
        self.intake.lanes.absorb::<K, V, P>(spot.hash, probe, item)
    }

    /// Inserts by the overflow policy what the thread has no lease for, and sees whether it should have.
    #[inline(never)]
    fn insert_unstaged<P: Probe<K>>(&self, spot: Spot, probe: P, item: V::Item) -> Insertion<P, V::Item> {
        let miss = self.intake.lanes.miss::<K, V, P>(spot.hash, &probe);
        let waited = self.intake.is_locked(spot.partition);
        let mut shard = self.intake.lock(spot.partition);
        if miss.as_ref().is_some_and(|miss| miss.ends_lease) {
            shard.end_leases_of(spot.hash, |key| probe.matches(key));
        }
        match shard.absorb(spot.hash, &probe, item) {
            Ok((inserted, _displaced)) => {
                if let Some(miss) = miss {
                    self.intake.lanes.stage(&mut shard, (spot.hash, probe), miss, waited);
                }
                drop(shard);
                self.follow_up(inserted);
                Ok(())
            }
            Err(refused) => self.insert_unabsorbed(spot, shard, probe, refused),
        }
    }

    /// Inserts by the overflow policy what was not absorbed under this lock.
    #[inline(never)]
    pub(super) fn insert_unabsorbed<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        shard: ShardGuard<'a, K, V>,
        probe: P,
        refused: Refused<V::Item, Obstacle>,
    ) -> Insertion<P, V::Item> {
        match self.overcome(spot, shard, probe, refused) {
            Err(InsertError { kind: InsertErrorKind::Full, rejected: (probe, item) }) => {
                self.overflow(spot, probe, item)
            }
            settled => settled,
        }
    }

    /// Inserts if there is room.
    pub(crate) fn insert_if_roomy<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Insertion<P, V::Item> {
        let mut shard = self.intake.lock(spot.partition);
        match shard.absorb(spot.hash, &probe, item) {
            Ok((inserted, _displaced)) => {
                drop(shard);
                self.follow_up(inserted);
                Ok(())
            }
            Err(refused) => self.overcome(spot, shard, probe, refused),
        }
    }

    /// Inserts what was not absorbed, if there is room.
    #[inline]
    fn overcome<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        mut shard: ShardGuard<'a, K, V>,
        probe: P,
        refused: Refused<V::Item, Obstacle>,
    ) -> Insertion<P, V::Item> {
        match shard.overcome(spot.hash, probe, refused, self) {
            Ok((inserted, _displaced)) => {
                drop(shard);
                self.follow_up(inserted);
                self.note_change();
                Ok(())
            }
            Err(refused) => self.supply_and_insert(spot, shard, refused),
        }
    }

    /// Gets the partition what it lacks, as long as there is any, and inserts.
    #[cold]
    fn supply_and_insert<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        mut shard: ShardGuard<'a, K, V>,
        mut refused: Refused<(P, V::Item), Lack>,
    ) -> Insertion<P, V::Item> {
        let mut recalled = false;
        let (inserted, _displaced) = loop {
            let Refused { back: (probe, item), why } = refused;
            match self.intake.supply(spot.partition, &mut shard, why, recalled) {
                Ok(true) => {}
                Ok(false) => {
                    drop(shard);
                    self.intake.recall_room();
                    recalled = true;
                    shard = self.intake.lock(spot.partition);
                }
                Err(kind) => {
                    self.intake.recall_admissions(&mut shard);
                    drop(shard);
                    // It may have been taken for changed.
                    self.note_change();
                    return Err(InsertError::new(kind, (probe, item)));
                }
            }
            let unabsorbed = match shard.absorb(spot.hash, &probe, item) {
                Ok(taken) => break taken,
                Err(unabsorbed) => unabsorbed,
            };
            match shard.overcome(spot.hash, probe, unabsorbed, self) {
                Ok(taken) => break taken,
                Err(again) => refused = again,
            }
        };
        let surplus = self.intake.surplus(&mut shard);
        drop(shard);
        self.intake.wake_for(surplus);
        self.note_change();
        self.follow_up(inserted);
        self.flush_if_full();
        Ok(())
    }

    /// Has the scheduler know of it.
    pub(super) fn follow_up(&self, inserted: Inserted) {
        match inserted {
            Inserted::Absorbed => {}
            Inserted::Armed(tick) => self.dispatch.doorbell().wake_by(tick),
            Inserted::Due => self.dispatch.doorbell().ring(),
        }
    }

    /// Makes everything due if there are enough inserts in the whole buffer.
    fn flush_if_full(&self) {
        let Some(volume) = &self.intake.volume else { return };
        while volume.begin() {
            self.request_all(FlushReason::Volume, None);
            volume.end();
        }
    }

    /// So many inserts are refused; no lock is held.
    #[cold]
    pub(super) fn note_refused(&self, kind: InsertErrorKind, inserts: u64) {
        self.counters.rejected.fetch_add(inserts, Ordering::Relaxed);
        // In a forked process nobody's observers are to be called, and under a lock nobody's code.
        if self.may_call().is_ok() {
            self.callbacks.observe(|observer| observer.refused(&self.settings.name, inserts, kind));
        }
    }

    /// A single insert is refused: notes it, and says what the caller gets back.
    #[cold]
    pub(crate) fn refuse<T, U>(&self, refused: InsertError<T>, back: impl FnOnce(T) -> U) -> InsertError<U> {
        self.note_refused(refused.kind, 1);
        InsertError::new(refused.kind, back(refused.rejected))
    }

    #[cold]
    fn overflow<P: Probe<K>>(&self, spot: Spot, probe: P, item: V::Item) -> Insertion<P, V::Item> {
        match self.settings.bounds.overflow {
            Overflow::Shed => {
                self.counters.shed.fetch_add(1, Ordering::Relaxed);
                self.callbacks.observe(|observer| observer.shed(&self.settings.name));
                self.callbacks.handle_shed(probe.into_key(), V::start(item));
                Ok(())
            }
            Overflow::Reject => Err(InsertError::new(InsertErrorKind::Full, (probe, item))),
            waiting => match self.may_wait() {
                Ok(()) => {
                    let timeout = waiting.timeout().unwrap_or_default();
                    self.insert_when_roomy(spot, probe, item, timeout)
                }
                Err(refusal) => Err(InsertError::new(refusal.into(), (probe, item))),
            },
        }
    }

    /// Makes a batch of the generations with the nearest deadlines due.
    pub(crate) fn hasten(&self) {
        self.hasten_nearest(self.settings.flushing.max_batch_keys);
        self.dispatch.doorbell().ring();
    }

    /// Makes about so many generations with the nearest deadlines due, and says how many.
    pub(crate) fn hasten_nearest(&self, most: usize) -> usize {
        let nearest = |partition| Some((self.intake.look(partition)?.nearest_deadline()?, partition));
        let mut nearest: Vec<_> = (0..self.intake.partitions()).filter_map(nearest).collect();
        nearest.sort_unstable();
        let share = most.div_ceil(self.intake.partitions()).min(super::HOLD);
        let mut left = most;
        for (_, partition) in nearest {
            let Some(mut shard) = self.intake.look(partition) else { continue };
            left = left.saturating_sub(shard.hasten(share.min(left)));
        }
        most - left
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Intake<K, V, S> {
    /// Gives a partition what an insert lacks, or says why there is none. False if unused room has to
    /// be called back first.
    fn supply(
        &self,
        partition: usize,
        shard: &mut Partition<K, V>,
        lack: Lack,
        recalled: bool,
    ) -> Result<bool, InsertErrorKind> {
        let need = match lack {
            Lack::Making if self.make(partition, shard) => return Ok(true),
            Lack::Making | Lack::Opening => return Err(InsertErrorKind::Closed),
            Lack::Admission if self.refusing.load(Ordering::Relaxed) => {
                return Err(InsertErrorKind::JournalFailed);
            }
            Lack::Admission => {
                match &self.volume {
                    Some(volume) => shard.admit(volume.draw()),
                    None => shard.admit_all(),
                }
                return Ok(true);
            }
            Lack::Room(need) => need,
        };
        if !self.pool.could_hold(need) {
            return Err(InsertErrorKind::TooHeavy);
        }
        // What is owed is drawn too, so that the bound is overdrawn by one insert at most.
        let need = Need { weight: need.weight.saturating_add(shard.owed_weight()), ..need };
        match self.pool.draw(need) {
            Some(room) => shard.grant(room),
            None if recalled && self.pool.is_tight() => return Err(InsertErrorKind::Full),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// What a partition has drawn and not used, if that is wanted elsewhere.
    fn surplus(&self, shard: &mut Partition<K, V>) -> Need {
        if self.pool.is_tight() { self.recall_from(shard) } else { Need::default() }
    }

    /// Takes back what a refused insert was admitted for.
    fn recall_admissions(&self, shard: &mut Partition<K, V>) {
        if self.volume.is_some() && shard.is_made() {
            shard.recall_admissions();
            self.release_from(shard);
        }
    }
}
