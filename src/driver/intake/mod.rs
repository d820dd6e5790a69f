//! Where items come in: the partitions with their locks, the bounds, and those who wait for room.
//!
//! A partition is made by the first insert into it, and given back when the buffer rests: a buffer that
//! holds nothing has none.

mod bulk;
mod insert;
pub(crate) mod lanes;
mod pool;
mod room;
mod volume;

use std::hash::{BuildHasher, Hash};
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use crossbeam_utils::CachePadded;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::user::context::Locked;
use super::wait::waiter::WaiterRef;
use crate::aggregate::{Aggregate, fits_lanes};
use crate::driver::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::engine::shard::{Need, Shard, Timing};
use crate::key::{KeptHash, Key};
use crate::settings::Settings;
use crate::stats::Stats;
use lanes::Lanes;
use pool::Pool;
use room::Room;
use volume::Volume;

pub(crate) use insert::Insertion;
pub(crate) use room::Place;

pub(crate) type Partition<K, V> = Shard<K, V, WaiterRef>;

/// Padded, so that no two locks share a cache line.
type Slot<K, V> = CachePadded<Mutex<Partition<K, V>>>;

/// A place in the table: the partition, and the hash within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) partition: usize,
    pub(crate) hash: KeptHash,
}

/// How many keys are handled at most while a partition's lock is held.
pub(crate) const HOLD: usize = 256;

pub(crate) struct Intake<K, V, S> {
    hasher: S,
    partitions: usize,
    /// The partitions' places, each of which guards the generations of its keys. Made by the first insert.
    slots: OnceLock<Box<[Slot<K, V>]>>,
    instance: u64,
    /// No partition is open any more. Relaxed: ordered by the partitions' locks.
    closed: AtomicBool,
    pool: Pool,
    /// `None`: the buffer is not to be flushed as a whole.
    volume: Option<Volume>,
    room: Room,
    /// Held while unused room is called back.
    recalling: Mutex<()>,
    /// Guards what partitions that were given back have counted. Held while anybody looks at all counters,
    /// so that none is on its way from there to here meanwhile.
    former: Mutex<Stats>,
    timing: Timing,
    seed: u64,
    /// There is a journal.
    journaled: bool,
    /// Nothing is let in for now, because the journal cannot be written. Relaxed: ordered by the partitions' locks.
    refusing: AtomicBool,
    /// Where threads absorb on their own.
    pub(crate) lanes: Lanes,
    /// How many partitions were ever made. Relaxed: for numbers and seeds.
    made: AtomicU64,
}

/// A locked partition.
pub(crate) struct ShardGuard<'a, K, V> {
    /// Released first.
    shard: MutexGuard<'a, Partition<K, V>>,
    _locked: Option<Locked>,
}

impl<K, V> ShardGuard<'_, K, V> {
    /// Unlocks: as when it is dropped, but always inlined, of which an insert that absorbs has 20 instructions less.
    #[inline(always)]
    fn release(self) {
        let ShardGuard { shard, _locked } = self;
        drop(shard);
        drop(_locked);
    }
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

impl<K: Key, V: Aggregate, S: BuildHasher> Intake<K, V, S> {
    /// Whether dropping what an aggregate lets go of may run code of the user, which may call the buffer.
    pub(crate) const DROPS: bool = std::mem::needs_drop::<V>() || std::mem::needs_drop::<V::Item>();

    pub(crate) fn new(settings: &Settings, hasher: S, instance: u64, journaled: bool) -> Self {
        let partitions = settings.partitions;
        Intake {
            hasher,
            partitions,
            slots: OnceLock::new(),
            instance,
            closed: AtomicBool::new(false),
            pool: Pool::new(settings.bounds.max_keys, settings.bounds.max_weight, partitions),
            volume: settings.schedule.flush_all_at_count.map(|limit| Volume::new(limit, partitions)),
            room: Room::new(),
            recalling: Mutex::new(()),
            former: Mutex::new(Stats::default()),
            timing: settings.timing(),
            seed: settings.seed.unwrap_or(instance),
            journaled,
            refusing: AtomicBool::new(false),
            lanes: Lanes::new::<V>(settings.schedule.flush_all_at_count.is_some()),
            made: AtomicU64::new(0),
        }
    }

    /// Hashes once: the high half chooses the partition, the low half the place in it.
    #[inline]
    pub(crate) fn spot<Q: ?Sized + Hash>(&self, key: &Q) -> Spot {
        let hash = self.hasher.hash_one(key);
        let partition = ((hash >> 32) * self.partitions as u64) >> 32;
        Spot { partition: partition as usize, hash: KeptHash::of(hash) }
    }

    /// What is kept of a key's hash.
    pub(crate) fn kept_hash(&self, key: &K) -> KeptHash {
        KeptHash::of(self.hasher.hash_one(key))
    }

    /// How many partitions there may be.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Those of the partitions in turn that are made.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardGuard<'_, K, V>> {
        (0..self.slots().len()).filter_map(|partition| self.look(partition))
    }

    /// A partition, if it is made.
    #[inline]
    pub(crate) fn look(&self, partition: usize) -> Option<ShardGuard<'_, K, V>> {
        let shard = self.slots().get(partition)?.lock();
        shard.is_made().then(|| ShardGuard { shard, _locked: Some(Locked::by(self.instance)) })
    }

    /// A partition that has something in flight, or kept.
    pub(crate) fn shard(&self, partition: u32) -> ShardGuard<'_, K, V> {
        self.look(partition as usize).unwrap_or_else(|| unreachable!("it holds data, so it is made"))
    }

    #[inline]
    fn slots(&self) -> &[Slot<K, V>] {
        self.slots.get().map_or(&[], |slots| slots)
    }

    /// A place to insert into. Notes that the lock is held only if code of the user can come to know.
    #[inline]
    fn lock(&self, partition: usize) -> ShardGuard<'_, K, V> {
        let slot = self.slots().get(partition).unwrap_or_else(|| &self.places()[partition]);
        if fits_lanes::<V>() && slot.is_locked() {
            self.lanes.turn_on();
        }
        ShardGuard { shard: slot.lock(), _locked: Self::DROPS.then(|| Locked::by(self.instance)) }
    }

    /// Whether somebody has a partition's lock just now.
    fn is_locked(&self, partition: usize) -> bool {
        self.slots().get(partition).is_some_and(|slot| slot.is_locked())
    }

    /// The places of all partitions, made now if they are not there.
    #[cold]
    fn places(&self) -> &[Slot<K, V>] {
        let unmade = || CachePadded::new(Mutex::new(Shard::unmade()));
        self.slots.get_or_init(|| (0..self.partitions).map(|_| unmade()).collect())
    }

    /// Makes a partition in its place. False if the intake is closed.
    fn make(&self, partition: usize, place: &mut Partition<K, V>) -> bool {
        // Whoever closes the intake says so before it locks this.
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        // No two partitions are the same, so none in this place either.
        let life = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let random = SmallRng::seed_from_u64(self.seed.wrapping_add(life));
        *place = Shard::new(partition as u32, life, self.timing.clone(), random, self.journaled);
        if self.volume.is_none() && !self.refusing.load(Ordering::Relaxed) {
            place.admit_all();
        }
        true
    }

    /// Lets nothing in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Whoever inserts meanwhile has one of these, and is let in before it is looked at here or sees that
        // it is too late.
        for slot in self.places() {
            let mut shard = slot.lock();
            let _locked = Locked::by(self.instance);
            if shard.is_made() {
                shard.close();
            }
        }
        self.room.wake_all();
    }

    /// Lets nothing in for now, or everything again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Relaxed);
        for mut shard in self.shards().filter(|_| refusing) {
            shard.recall_admissions();
            self.release_from(&mut shard);
        }
    }

    /// Gives back what partitions do not use: their memory, their room, and themselves where they hold
    /// nothing. Says whether that made room for others.
    pub(crate) fn rest(&self) -> bool {
        let mut freed = Need::default();
        self.lanes.rest();
        let mut former = self.former.lock();
        for slot in self.slots() {
            let mut shard = slot.lock();
            let _locked = Locked::by(self.instance);
            if !shard.is_made() {
                continue;
            }
            let unused = self.recall_from(&mut shard);
            (freed.keys, freed.weight) = (freed.keys + unused.keys, freed.weight + unused.weight);
            if shard.is_vacant() {
                shard.recall_admissions();
                self.release_from(&mut shard);
                shard.add_to(&mut former);
                *shard = Shard::unmade();
            } else {
                shard.shrink();
            }
        }
        freed != Need::default()
    }

    /// What all partitions have counted; `look` sees each of them.
    pub(crate) fn stats(&self, mut look: impl FnMut(&mut Partition<K, V>)) -> Stats {
        let former = self.former.lock();
        let mut stats = *former;
        for mut shard in self.shards() {
            shard.add_to(&mut stats);
            look(&mut shard);
        }
        stats
    }

    /// Draws so much room, or more. Called without any lock.
    pub(crate) fn draw(&self, need: Need) -> Option<Need> {
        self.pool.draw(need).or_else(|| {
            self.recall_room();
            self.pool.draw(need)
        })
    }

    /// Draws so much room, whether there is any or not.
    pub(crate) fn overdraw(&self, need: Need) {
        self.pool.overdraw(need);
    }

    /// Whether half of all room is free besides what is needed.
    pub(crate) fn has_plenty(&self, need: Need) -> bool {
        self.pool.has_plenty(need)
    }

    /// Whether room has run out, also when what is promised is given back.
    pub(crate) fn is_short(&self, promised: Need) -> bool {
        self.pool.is_short(promised)
    }

    /// Gives room back to the pool. Called without any lock.
    pub(crate) fn give_room(&self, room: Need) {
        self.pool.give(room);
        self.wake_for(room);
    }

    /// Tells those who wait that `room` has been given back.
    fn wake_for(&self, room: Need) {
        if room != Need::default() {
            self.room.wake_all();
        }
    }

    /// Has a partition take in something that a journal has, whether there is room or not.
    pub(crate) fn with_recovered_room(
        &self,
        spot: Spot,
        need: Need,
        take: impl FnOnce(&mut Partition<K, V>),
    ) {
        self.pool.overdraw(need);
        let mut shard = self.lock(spot.partition);
        if !shard.is_made() {
            self.make(spot.partition, &mut shard);
        }
        shard.grant(need);
        take(&mut shard);
        // What was not needed after all.
        self.recall_from(&mut shard);
    }

    /// Has those who wait for room look again.
    pub(crate) fn wake_all(&self) {
        self.room.wake_all();
    }

    /// A place among those who wait for room.
    pub(crate) fn enter(&self) -> Place<'_> {
        self.room.enter()
    }

    /// Whether one more key might find room.
    #[cfg(feature = "tokio")]
    pub(crate) fn may_hold_one(&self) -> bool {
        self.pool.may_hold_one()
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
    fn recall_from(&self, shard: &mut Partition<K, V>) -> Need {
        let unused = shard.recall();
        self.pool.give(unused);
        unused
    }

    /// How many wait for room.
    #[cfg(all(test, feature = "tokio", not(shuttle)))]
    pub(crate) fn waiting(&self) -> usize {
        self.room.waiting()
    }
}
