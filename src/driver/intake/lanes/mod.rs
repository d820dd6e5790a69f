//! Lanes: where threads that contend for keys absorb on their own. ARCHITECTURE.md says how and why.

pub(crate) mod cell;
mod lane;

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic;
use std::sync::{Arc, Weak};

use super::Partition;
use crate::aggregate::{Aggregate, fits_lanes};
use crate::driver::sync::{AtomicBool, AtomicU64, Ordering, thread_local};
use crate::engine::shard::Probe;
use crate::key::{KeptHash, Key};
use lane::{CellLease, Lane};

/// How many places a lane has at first, and at most.
const PLACES: (usize, usize) = (64, 4096);

/// A lease is used well if so many inserts were made of it.
const WELL_USED: u32 = 64;

/// After so many inserts that found no lease a thread looks whether lanes are worth while.
const REVIEW: u64 = 1 << 14;

/// If they are not, threads have to meet so often before they are tried again.
const QUIET: u64 = 1 << 12;

/// How many buffers a thread has lanes for.
const BUFFERS: usize = 16;

/// One buffer's lane of a thread.
struct OfBuffer {
    buffer: u64,
    alive: Weak<()>,
    /// [`Mine`] of its keys and aggregates.
    mine: Box<dyn Any>,
}

thread_local! {
    static LANES: RefCell<Vec<OfBuffer>> = const { RefCell::new(Vec::new()) };
}

/// Tells buffers, and threads, apart. A real one, since no model checker's can be made so early.
static NUMBERS: atomic::AtomicU64 = atomic::AtomicU64::new(1);

/// What a buffer knows of its lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    number: u64,
    /// Whether aggregates of this kind are kept in lanes at all.
    possible: bool,
    /// Threads have met. Relaxed, as `quiet`: nothing depends on who sees it when.
    on: AtomicBool,
    /// How often threads have to meet until it is on again.
    quiet: AtomicU64,
    /// Every key is taken for one that threads contend for. Relaxed: set before the buffer is known to anybody.
    always: AtomicBool,
    /// How often the buffer has been at rest: lanes from before are given back. Relaxed: nothing depends on it.
    rests: AtomicU64,
    /// Gone when the buffer is: its lanes are told by that.
    alive: Arc<()>,
}

/// A thread's lane of a buffer.
struct Mine<K, V> {
    lane: Arc<Lane<K>>,
    thread: u32,
    rests: u64,
    /// How many keys have a place.
    taken: usize,
    /// All places are taken by keys that are busy, as far as is known.
    full: bool,
    /// Inserts that have found no lease since the last review.
    missed: u64,
    /// How often the lane had been entered at that time.
    entered: u64,
    kind: PhantomData<fn() -> V>,
}

/// A key's place in a thread's lane.
struct Place<K> {
    lane: Arc<Lane<K>>,
    place: usize,
}

/// What a thread that has found no lease knows before it takes the partition's lock.
pub(super) struct Miss<K> {
    thread: u32,
    place: Option<Place<K>>,
    /// There is a lease, but it is used up, or does not take the item.
    pub(super) ends_lease: bool,
    /// The key's last lease was used well.
    was_busy: bool,
}

impl Lanes {
    pub(super) fn new<V: Aggregate>(counts_volume: bool) -> Self {
        Lanes {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            // There admissions are handed out in small portions, of which none is to lie unused.
            possible: fits_lanes::<V>() && !counts_volume,
            on: AtomicBool::new(false),
            quiet: AtomicU64::new(0),
            always: AtomicBool::new(false),
            rests: AtomicU64::new(0),
            alive: Arc::new(()),
        }
    }

    #[inline(always)]
    pub(super) fn are_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Two threads have met.
    #[cold]
    pub(super) fn turn_on(&self) {
        let quiet = self.quiet.load(Ordering::Relaxed);
        if !self.possible {
            return;
        }
        match quiet.checked_sub(1) {
            // It does not matter if one of two that meet at the same time is not counted.
            Some(left) => self.quiet.store(left, Ordering::Relaxed),
            None => self.on.store(true, Ordering::Relaxed),
        }
    }

    /// Few find what they need there.
    fn turn_off(&self) {
        if !self.is_always() {
            self.quiet.store(QUIET, Ordering::Relaxed);
            self.on.store(false, Ordering::Relaxed);
        }
    }

    /// Every key is staged, whether threads contend for it or not.
    #[cfg(feature = "test-util")]
    pub(crate) fn stage_always(&self) {
        self.always.store(true, Ordering::Relaxed);
        self.turn_on();
    }

    /// The buffer rests, and nothing is lent any more.
    pub(super) fn rest(&self) {
        self.rests.fetch_add(1, Ordering::Relaxed);
        self.on.store(self.possible && self.is_always(), Ordering::Relaxed);
    }

    fn is_always(&self) -> bool {
        self.always.load(Ordering::Relaxed)
    }

    /// Absorbs an item in the thread's lane, if its key has a lease there.
    #[inline(always)]
    pub(super) fn absorb<K: Key, V: Aggregate, P: Probe<K>>(
        &self,
        hash: KeptHash,
        probe: &P,
        item: V::Item,
    ) -> Result<(), V::Item> {
        let mut item = Some(item);
        // A thread that is at its end has no lanes any more.
        let _ = LANES.try_with(|lanes| {
            let Ok(lanes) = lanes.try_borrow() else { return };
            let Some(mine) = lanes.iter().find(|lane| lane.buffer == self.number) else { return };
            let Some(mine) = mine.mine.downcast_ref::<Mine<K, V>>() else { return };
            let Some((_, cell)) = mine.lane.find(hash, probe) else { return };
            item = item.take().and_then(|item| mine.lane.absorb::<V>(cell, item).err());
        });
        item.map_or(Ok(()), Err)
    }

    /// What the thread knows of a key for which it has found no lease. `None` if it can have no lane.
    pub(super) fn miss<K: Key, V: Aggregate, P: Probe<K>>(
        &self,
        hash: KeptHash,
        probe: &P,
    ) -> Option<Miss<K>> {
        self.with_mine(|mine: &mut Mine<K, V>| {
            mine.missed += 1;
            if mine.missed >= REVIEW && !mine.is_of_use() {
                self.turn_off();
            }
            let thread = mine.thread;
            let Some((place, cell)) = mine.lane.find(hash, probe) else {
                return Miss { thread, place: None, ends_lease: false, was_busy: false };
            };
            let (ends_lease, used_up) = cell.is_open();
            let was_busy = used_up || cell.count() >= WELL_USED;
            let place = Some(Place { lane: Arc::clone(&mine.lane), place });
            Miss { thread, place, ends_lease, was_busy }
        })
    }

    /// Has a key that was inserted into under this lock be staged, if that seems worth while. `waited`: for the lock.
    pub(super) fn stage<K: Key, V: Aggregate, P: Probe<K>>(
        &self,
        partition: &mut Partition<K, V>,
        (hash, probe): (KeptHash, P),
        miss: Miss<K>,
        waited: bool,
    ) {
        let met = partition.meet(miss.thread, waited, hash);
        if !(met || miss.was_busy || self.is_always()) {
            return;
        }
        let place = miss
            .place
            .or_else(|| self.with_mine(|mine: &mut Mine<K, V>| mine.put(hash, probe.into_key())).flatten());
        let Some(Place { lane, place }) = place else { return };
        let Some(key) = lane.key(place) else { return };
        partition.lend(
            hash,
            |other| other == key,
            |inserts| Box::new(CellLease::<K, V>::open(&lane, place, inserts)),
        );
    }

    /// The thread's own, made now if there is none. `None` if it can have none, or is at it already.
    fn with_mine<K: Key, V: Aggregate, T>(&self, then: impl FnOnce(&mut Mine<K, V>) -> T) -> Option<T> {
        let with_mine = |lanes: &RefCell<Vec<OfBuffer>>| {
            let mut lanes = lanes.try_borrow_mut().ok()?;
            let rests = self.rests.load(Ordering::Relaxed);
            let fits = |lane: &OfBuffer| {
                lane.mine.downcast_ref::<Mine<K, V>>().is_some_and(|mine| mine.rests == rests)
            };
            if !lanes.iter().any(|lane| lane.buffer == self.number && fits(lane)) {
                lanes.retain(|lane| lane.buffer != self.number && lane.alive.strong_count() > 0);
                if lanes.len() >= BUFFERS {
                    return None;
                }
                let mine = Box::new(Mine::<K, V>::new(rests));
                lanes.push(OfBuffer { buffer: self.number, alive: Arc::downgrade(&self.alive), mine });
            }
            let mine = lanes.iter_mut().find(|lane| lane.buffer == self.number)?;
            mine.mine.downcast_mut().map(then)
        };
        LANES.try_with(with_mine).ok().flatten()
    }
}

impl<K: Key, V: Aggregate> Mine<K, V> {
    fn new(rests: u64) -> Self {
        Mine {
            lane: Arc::new(Lane::new(PLACES.0)),
            thread: NUMBERS.fetch_add(1, Ordering::Relaxed) as u32,
            rests,
            taken: 0,
            full: false,
            missed: 0,
            entered: 0,
            kind: PhantomData,
        }
    }

    /// Whether three inserts in four have found what they need in the lane, since this was asked last: those that have not
    /// take longer than without lanes.
    fn is_of_use(&mut self) -> bool {
        let entered = self.lane.entered();
        let of_use = entered.saturating_sub(self.entered) >= 3 * self.missed;
        (self.missed, self.entered, self.full) = (0, entered, false);
        of_use
    }

    /// A place for a key that has none. `None` if all are taken by keys that are busy.
    fn put(&mut self, hash: KeptHash, key: K) -> Option<Place<K>> {
        if self.taken >= self.lane.places() / 2 {
            self.move_on();
        }
        if self.full {
            return None;
        }
        self.taken += 1;
        let place = self.lane.put(hash, key);
        Some(Place { lane: Arc::clone(&self.lane), place })
    }

    /// Makes another lane of the keys that are busy. What they have leased in the old one the partitions know of.
    fn move_on(&mut self) {
        if self.full {
            return;
        }
        let busy: Vec<_> = self.lane.busy_keys(WELL_USED).cloned().collect();
        let crowded = busy.len() > self.lane.places() * 3 / 8;
        if crowded && self.lane.places() >= PLACES.1 {
            self.full = true;
            return;
        }
        let places = if crowded { 4 * self.lane.places() } else { self.lane.places() };
        let lane = Lane::new(places);
        self.taken = busy.len();
        for (key, hash) in busy {
            let place = lane.put(hash, key);
            lane.cell(place).remember(WELL_USED);
        }
        self.lane = Arc::new(lane);
        self.entered = 0;
    }
}
