//! What all drivers share: the partitions with their locks, and inserts.

use std::hash::{BuildHasher, Hash};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::clock::Clock;
use super::context::{self, Barred, Locked};
use super::doorbell::Doorbell;
use super::life::Life;
use super::pool::Pool;
use super::room::Room;
use super::scheduler_state::SchedulerState;
use super::sink::Callbacks;
use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use super::volume::Volume;
use super::waiter::WaiterRef;
use crate::aggregate::Aggregate;
use crate::batch::{Content, FlushReason};
use crate::engine::flights::Flights;
use crate::engine::shard::{
    Host, Inserted, Need, Probe, Refusal, Refused, Settlement, Shard, Taken, Unabsorbed, kept,
};
use crate::engine::tick;
use crate::error::InsertErrorKind;
use crate::failure::FailureCause;
use crate::key::Key;
use crate::settings::{Overflow, Settings};
use crate::undelivered::Leftovers;

/// How long to wait before trying again what the system refused.
const SECOND_TRY: Duration = Duration::from_millis(100);

pub(crate) type Partition<K, V> = Shard<K, V, WaiterRef>;

/// All batches in flight.
pub(crate) type AllFlights<K, V> = Flights<Arc<Content<K, V>>>;

#[cfg(not(miri))]
type ForkGuard = forkguard::Guard;
#[cfg(miri)]
type ForkGuard = forkguard::noop::Guard;

type Padded<K, V> = CachePadded<Mutex<Partition<K, V>>>;

/// A running buffer without its threads.
///
/// Locks, in the order in which they may be held together: `scheduler`, then `assembly`, then
/// `recalling`, then one partition or `flights`; a waiter's own lock last. No two partitions at
/// once, and no user code under any of them but the key's and the aggregate's own methods.
pub(crate) struct Core<K, V, S> {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) instance: u64,
    /// Made by the process that runs this.
    fork_guard: ForkGuard,
    #[cfg(any(feature = "test-util", feature = "tokio"))]
    pub(crate) driver: Driver,
    hasher: S,
    /// Each guards the generations of its keys. Padded, so that two never share a cache line.
    shards: Box<[Padded<K, V>]>,
    pub(crate) pool: Pool,
    /// `None`: it is not to be flushed as a whole.
    volume: Option<Volume>,
    /// Guards the stages of all batches in flight.
    pub(crate) flights: Mutex<AllFlights<K, V>>,
    /// Guards the scheduler's own state; held while it takes a step.
    pub(crate) scheduler: Mutex<SchedulerState<K, V>>,
    /// Held while a batch is put together or split. Whoever finds data in transit waits here.
    pub(crate) assembly: Mutex<()>,
    /// Held while unused room is called back.
    recalling: Mutex<()>,
    pub(crate) callbacks: Callbacks<K, V>,
    pub(crate) doorbell: Doorbell,
    pub(crate) room: Room,
    pub(crate) life: Life,
    /// Guards those who wait for flushes at this moment.
    pub(crate) waiters: Mutex<Vec<WaiterRef>>,
    /// Guards what shutdown hands back and nobody has fetched yet.
    pub(crate) left: Mutex<Leftovers<K, V>>,
    pub(crate) counters: Counters,
    /// No handle is left that could be told anything. Relaxed: set before the doorbell's lock.
    pub(crate) orphaned: AtomicBool,
    pub(crate) hibernating: AtomicBool,
    pub(crate) workers: AtomicUsize,
}

/// A locked partition.
pub(crate) struct ShardGuard<'a, K, V> {
    /// Released first.
    shard: MutexGuard<'a, Partition<K, V>>,
    _locked: Option<Locked>,
}

impl<K, V> Deref for ShardGuard<'_, K, V> {
    type Target = Partition<K, V>;

    #[inline]
    fn deref(&self) -> &Partition<K, V> {
        &self.shard
    }
}

impl<K, V> DerefMut for ShardGuard<'_, K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Partition<K, V> {
        &mut self.shard
    }
}

/// Statistics that belong to no partition. All relaxed: nothing is ordered by them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejected: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) overdue: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) returned: AtomicU64,
}

/// Who does a buffer's work: threads, if there is nothing else to choose from.
#[cfg(any(feature = "test-util", feature = "tokio"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Threads,
    /// There is nobody: calls that wait do the work.
    #[cfg(feature = "test-util")]
    Inline,
    /// Tasks of a runtime: a thread of it must not wait for them.
    #[cfg(feature = "tokio")]
    Runtime,
}

/// A place in the table: the partition, and the hash within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) partition: usize,
    pub(crate) hash: u32,
}

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    pub(crate) fn new(
        settings: Settings,
        clock: Clock,
        hasher: S,
        callbacks: Callbacks<K, V>,
        instance: u64,
    ) -> Self {
        let timing = settings.timing();
        let seed = settings.seed.unwrap_or(instance);
        let shards = (0..settings.partitions).map(|partition| {
            let random = SmallRng::seed_from_u64(seed.wrapping_add(partition as u64));
            let mut shard = Shard::new(partition as u32, timing.clone(), random);
            shard.admit(if settings.schedule.flush_all_at_count.is_some() { 0 } else { u64::MAX });
            CachePadded::new(Mutex::new(shard))
        });
        Core {
            shards: shards.collect(),
            volume: settings.schedule.flush_all_at_count.map(|limit| Volume::new(limit, settings.partitions)),
            pool: Pool::new(settings.bounds.max_keys, settings.bounds.max_weight, settings.partitions),
            flights: Mutex::new(Flights::new()),
            scheduler: Mutex::new(SchedulerState::new(SmallRng::seed_from_u64(!seed))),
            assembly: Mutex::new(()),
            recalling: Mutex::new(()),
            doorbell: Doorbell::new(),
            room: Room::new(),
            life: Life::new(),
            waiters: Mutex::new(Vec::new()),
            left: Mutex::new(Leftovers::default()),
            counters: Counters::default(),
            orphaned: AtomicBool::new(false),
            hibernating: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
            settings,
            clock,
            instance,
            fork_guard: ForkGuard::default(),
            #[cfg(any(feature = "test-util", feature = "tokio"))]
            driver: Driver::Threads,
            hasher,
            callbacks,
        }
    }

    /// Hashes once: the high half chooses the partition, the low half the place in it.
    #[inline]
    pub(crate) fn spot<Q: ?Sized + Hash>(&self, key: &Q) -> Spot {
        let hash = self.hasher.hash_one(key);
        let partition = ((hash >> 32) * self.shards.len() as u64) >> 32;
        Spot { partition: partition as usize, hash: kept(hash) }
    }

    /// Whether dropping what an aggregate lets go of may run code of the user, which may call this.
    const DROPS: bool = std::mem::needs_drop::<V>() || std::mem::needs_drop::<V::Item>();

    /// Each partition in turn.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardGuard<'_, K, V>> {
        (0..self.partitions()).map(|partition| self.shard(partition))
    }

    pub(crate) fn partitions(&self) -> usize {
        self.shards.len()
    }

    #[inline]
    pub(crate) fn shard(&self, partition: usize) -> ShardGuard<'_, K, V> {
        ShardGuard { shard: self.shards[partition].lock(), _locked: Some(Locked::by(self.instance)) }
    }

    /// As [`shard`](Self::shard), for an insert: notes that the lock is held only if code of the user can
    /// come to know.
    #[inline]
    pub(super) fn shard_to_insert(&self, partition: usize) -> ShardGuard<'_, K, V> {
        let shard = self.shards[partition].lock();
        ShardGuard { shard, _locked: Self::DROPS.then(|| Locked::by(self.instance)) }
    }

    /// Whether an insert may be made here.
    #[inline]
    pub(crate) fn may_insert(&self) -> Result<(), Barred> {
        if Self::DROPS {
            return self.may_call();
        }
        if self.is_fork() { Err(Barred::Forked) } else { Ok(()) }
    }

    /// Whether any call may be made here.
    #[inline]
    pub(crate) fn may_call(&self) -> Result<(), Barred> {
        if self.is_fork() {
            Err(Barred::Forked)
        } else if context::is_under_lock_of(self.instance) {
            Err(Barred::UnderLock)
        } else {
            Ok(())
        }
    }

    /// For calls that have no error to return.
    pub(crate) fn must_call(&self) {
        let name = &self.settings.name;
        match self.may_call() {
            Ok(()) => {}
            Err(Barred::Forked) => panic!(
                "the buffer `{name}` belongs to the process that this one was forked from: start another one here"
            ),
            Err(Barred::UnderLock) => {
                panic!(
                    "the buffer `{name}` was called by code that runs under a lock of it, such as an item's drop"
                )
            }
        }
    }

    /// Inserts by the overflow policy, or says why not and gives back what it was given.
    ///
    /// Only what absorbs is inlined, and that always: where the compiler chooses not to, an insert
    /// into a key that has data takes a tenth longer.
    #[inline(always)]
    pub(crate) fn insert<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        let mut shard = self.shard_to_insert(spot.partition);
        match shard.absorb(spot.hash, &probe, item) {
            // What is displaced is dropped after the lock is released.
            Ok((Inserted::Absorbed, _displaced)) => {
                drop(shard);
                Ok(())
            }
            Ok((inserted, _displaced)) => {
                drop(shard);
                self.follow_up(inserted);
                Ok(())
            }
            Err(unabsorbed) => self.insert_unabsorbed(spot, shard, probe, unabsorbed),
        }
    }

    #[inline(never)]
    pub(super) fn insert_unabsorbed<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        mut shard: ShardGuard<'a, K, V>,
        probe: P,
        unabsorbed: Unabsorbed<V::Item>,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        let result = shard.insert_unabsorbed(spot.hash, probe, unabsorbed, self);
        match self.insert_with_room(spot, shard, result) {
            Err((InsertErrorKind::Full, probe, item)) => self.overflow(spot, probe, item),
            settled => settled,
        }
    }

    /// Inserts if there is room.
    pub(crate) fn insert_if_roomy<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        let mut shard = self.shard_to_insert(spot.partition);
        let result = shard.insert(spot.hash, probe, item, self);
        self.insert_with_room(spot, shard, result)
    }

    /// Follows up an insert; if it came short of room, draws some and tries again.
    fn insert_with_room<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        shard: ShardGuard<'a, K, V>,
        result: Result<Taken<V::Item>, Refused<P, V::Item>>,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        match result {
            Ok((inserted, _displaced)) => {
                drop(shard);
                self.follow_up(inserted);
                Ok(())
            }
            Err(refused) => self.insert_with_more_room(spot, shard, refused),
        }
    }

    pub(crate) fn follow_up(&self, inserted: Inserted) {
        match inserted {
            Inserted::Absorbed => {}
            Inserted::Armed(tick) => self.doorbell.wake_by(tick),
            Inserted::Due => self.doorbell.ring(),
        }
    }

    #[cold]
    fn insert_with_more_room<'a, P: Probe<K>>(
        &'a self,
        spot: Spot,
        mut shard: ShardGuard<'a, K, V>,
        mut refused: Refused<P, V::Item>,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        let mut recalled = false;
        loop {
            let Refused { probe, item, why } = refused;
            match self.supply(&mut shard, why, recalled) {
                Ok(true) => {}
                Ok(false) => {
                    drop(shard);
                    self.recall_room();
                    recalled = true;
                    shard = self.shard_to_insert(spot.partition);
                }
                Err(kind) => {
                    self.recall_admissions(&mut shard);
                    return Err((kind, probe, item));
                }
            }
            match shard.insert(spot.hash, probe, item, self) {
                Ok((inserted, _displaced)) => {
                    let tight = self.pool.is_tight();
                    let surplus = if tight { self.recall_from(&mut shard) } else { Need::default() };
                    drop(shard);
                    self.wake_for(surplus);
                    self.follow_up(inserted);
                    self.flush_if_full();
                    return Ok(());
                }
                Err(again) => refused = again,
            }
        }
    }

    /// Gives a partition what an insert lacks, or says why there is none. False if unused room has to
    /// be called back first.
    fn supply(
        &self,
        shard: &mut Partition<K, V>,
        why: Refusal,
        recalled: bool,
    ) -> Result<bool, InsertErrorKind> {
        let need = match why {
            Refusal::Closed => return Err(InsertErrorKind::Closed),
            Refusal::NotAdmitted => {
                shard.admit(self.volume.as_ref().map_or(1, Volume::draw));
                return Ok(true);
            }
            Refusal::Short(need) => need,
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

    /// So many inserts are refused; no lock is held.
    #[cold]
    pub(crate) fn note_refused(&self, kind: InsertErrorKind, inserts: u64) {
        self.counters.rejected.fetch_add(inserts, Ordering::Relaxed);
        // In a forked process nobody's observers are to be called, and under a lock nobody's code.
        if self.may_call().is_ok() {
            self.callbacks.observe(|observer| observer.refused(&self.settings.name, inserts, kind));
        }
    }

    /// Draws room for so many keys, or more.
    pub(super) fn draw_keys(&self, keys: u64) -> Option<u64> {
        let need = Need { keys, weight: 0 };
        let room = self.pool.draw(need).or_else(|| {
            self.recall_room();
            self.pool.draw(need)
        });
        room.map(|room| room.keys)
    }

    /// Makes everything due if there are enough inserts in the whole buffer.
    fn flush_if_full(&self) {
        let Some(volume) = &self.volume else { return };
        while volume.begin() {
            self.request_all(FlushReason::Volume, None);
            volume.end();
        }
    }

    /// Takes back what a refused insert was admitted for.
    fn recall_admissions(&self, shard: &mut Partition<K, V>) {
        if self.volume.is_some() {
            shard.recall_admissions();
            self.release_from(shard);
        }
    }

    /// Stops counting what has left a partition, while the partition is locked.
    pub(crate) fn release_from(&self, shard: &mut Partition<K, V>) {
        if let Some(volume) = &self.volume {
            volume.give(shard.release());
        }
    }

    /// Calls back the room that partitions have drawn and do not use. When the pool is tight there
    /// is none.
    fn recall_room(&self) {
        {
            let _recalling = self.recalling.lock();
            if self.pool.is_tight() {
                return;
            }
            self.pool.tighten();
            for mut shard in self.shards() {
                self.recall_from(&mut shard);
            }
        }
        self.room.wake_all();
    }

    /// Gives a partition's unused room back to the pool, while the partition is locked: room on its
    /// way could be found nowhere.
    pub(crate) fn recall_from(&self, shard: &mut Partition<K, V>) -> Need {
        let unused = shard.recall();
        self.pool.give(unused);
        unused
    }

    pub(crate) fn give_room(&self, room: Need) {
        self.pool.give(room);
        self.wake_for(room);
    }

    /// Tells those who wait that `room` has been given back.
    pub(crate) fn wake_for(&self, room: Need) {
        if room != Need::default() {
            self.room.wake_all();
        }
    }

    #[cold]
    fn overflow<P: Probe<K>>(
        &self,
        spot: Spot,
        probe: P,
        item: V::Item,
    ) -> Result<(), (InsertErrorKind, P, V::Item)> {
        match self.settings.bounds.overflow {
            Overflow::Shed => {
                self.counters.shed.fetch_add(1, Ordering::Relaxed);
                self.callbacks.observe(|observer| observer.shed(&self.settings.name));
                self.callbacks.handle_shed(probe.into_key(), V::start(item));
                Ok(())
            }
            Overflow::Reject => Err((InsertErrorKind::Full, probe, item)),
            Overflow::Block { timeout } | Overflow::FlushOldest { timeout } => match self.may_wait() {
                Ok(()) => self.insert_when_roomy(spot, probe, item, timeout),
                Err(refusal) => Err((refusal.into(), probe, item)),
            },
        }
    }

    /// Makes a batch of the generations with the nearest deadlines due.
    pub(super) fn hasten(&self) {
        let mut nearest: Vec<_> = (0..self.partitions())
            .filter_map(|partition| Some((self.shard(partition).nearest_deadline()?, partition)))
            .collect();
        nearest.sort_unstable();
        let share = self.settings.flushing.max_batch_keys.div_ceil(self.partitions()).min(Self::HOLD);
        let mut left = self.settings.flushing.max_batch_keys;
        for (_, partition) in nearest {
            left = left.saturating_sub(self.shard(partition).hasten(share.min(left)));
        }
        self.doorbell.ring();
    }

    /// Carries out what settling generations set free or in motion. Called without any lock.
    pub(crate) fn follow_settlement(
        &self,
        settlement: Settlement<K, WaiterRef>,
        failure: Option<&FailureCause>,
    ) {
        self.give_room(settlement.freed);
        if settlement.due {
            self.doorbell.ring();
        }
        if let Some(tick) = settlement.armed {
            self.doorbell.wake_by(tick);
        }
        settlement.reached.iter().for_each(|(waiter, generations)| waiter.reach(*generations, failure));
    }

    /// How many keys are handled at most while a partition's lock is held.
    pub(crate) const HOLD: usize = 256;
}

impl<K: Key, V: Aggregate, S: BuildHasher> Host<K, V> for Core<K, V, S> {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn interval(&self, key: &K, data: &V, now: Duration) -> Option<Duration> {
        self.callbacks.interval(key, data, now)
    }

    fn hash(&self, key: &K) -> u32 {
        kept(self.hasher.hash_one(key))
    }
}

impl<K, V, S> Core<K, V, S> {
    /// Whether this process was forked from the one that runs the buffer.
    #[inline]
    pub(crate) fn is_fork(&self) -> bool {
        self.fork_guard.clone().detected_fork()
    }

    pub(crate) fn now_tick(&self) -> tick::Tick {
        tick::floor(self.clock.now())
    }

    /// When to try again what the system refused, such as a new thread.
    pub(crate) fn soon(&self) -> tick::Tick {
        tick::ceil(self.clock.now() + SECOND_TRY)
    }
}
