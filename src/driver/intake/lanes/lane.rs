use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use super::cell::{Cell, Turn};
use crate::LANE_WORDS;
use crate::aggregate::Aggregate;
use crate::driver::barrier::{self, Light};
use crate::engine::shard::{Lease, Probe};
use crate::key::KeptHash;

/// A thread's own cells, found by key. The owner puts keys into it and others look at its cells; no key ever leaves. An
/// owner whose lane is full makes itself another one.
pub(super) struct Lane<K> {
    turn: Turn,
    /// A power of two of them, found by linear probing; at most half of them are in use.
    places: Box<[Place<K>]>,
}

struct Place<K> {
    key: OnceLock<(K, KeptHash)>,
    cell: Cell,
}

impl<K> fmt::Debug for Lane<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl<K> Lane<K> {
    pub(super) fn new(places: usize) -> Self {
        debug_assert!(places.is_power_of_two(), "found by a mask");
        let place = |_| Place { key: OnceLock::new(), cell: Cell::new() };
        Lane { turn: Turn::new(Light::here()), places: (0..places).map(place).collect() }
    }

    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn entered(&self) -> u64 {
        self.turn.entered()
    }

    pub(super) fn cell(&self, place: usize) -> &Cell {
        &self.places[place].cell
    }

    pub(super) fn key(&self, place: usize) -> Option<&K> {
        self.places[place].key.get().map(|(key, _)| key)
    }

    /// Where a key is, and its cell.
    #[inline(always)]
    pub(super) fn find<P: Probe<K>>(&self, hash: KeptHash, probe: &P) -> Option<(usize, &Cell)> {
        let mask = self.places.len() - 1;
        let mut place = hash.bits() as usize & mask;
        loop {
            let Place { key, cell } = self.places.get(place)?;
            if probe.matches(&key.get()?.0) {
                return Some((place, cell));
            }
            place = (place + 1) & mask;
        }
    }

    /// Gives a key a place. There is one, and the key has none yet.
    pub(super) fn put(&self, hash: KeptHash, key: K) -> usize {
        let mask = self.places.len() - 1;
        let mut place = hash.bits() as usize & mask;
        let mut entry = (key, hash);
        while let Err(refused) = self.places[place].key.set(entry) {
            entry = refused;
            place = (place + 1) & mask;
        }
        place
    }

    /// The keys that have a lease, or of which at least so many inserts were made by the last one.
    pub(super) fn busy_keys(&self, least: u32) -> impl Iterator<Item = &(K, KeptHash)> {
        let busy = move |place: &&Place<K>| place.cell.is_open().0 || place.cell.count() >= least;
        self.places.iter().filter(busy).filter_map(|place| place.key.get())
    }

    /// Absorbs an item in a cell of this lane, if there is a lease. Called by the owner.
    #[inline(always)]
    pub(super) fn absorb<V: Aggregate>(&self, cell: &Cell, item: V::Item) -> Result<(), V::Item> {
        let Some(entered) = self.turn.enter(cell) else { return Err(item) };
        let mut words = [0; LANE_WORDS];
        let words = &mut words[..V::lane_words()];
        if entered.read(words) == 0 {
            V::start(item).to_words(words);
            // Before it counts as accepted.
            assert!(V::from_words(words).is_some(), "`from_words` does not know what `to_words` has written");
        } else {
            match V::from_words(words) {
                Some(mut data) if data.accepts(&item) => {
                    data.absorb(item);
                    data.to_words(words);
                }
                _ => return Err(item),
            }
        }
        entered.write(words);
        Ok(())
    }
}

/// A lease of the cell at a place of a lane.
pub(super) struct CellLease<K, V> {
    lane: Arc<Lane<K>>,
    place: usize,
    kind: PhantomData<fn() -> V>,
}

impl<K, V> CellLease<K, V> {
    /// Opens the cell, which the owner calls under the partition's lock.
    pub(super) fn open(lane: &Arc<Lane<K>>, place: usize, inserts: u32) -> Self {
        lane.cell(place).open(inserts);
        CellLease { lane: Arc::clone(lane), place, kind: PhantomData }
    }
}

impl<K: Send + Sync, V: Aggregate> Lease<V> for CellLease<K, V> {
    fn used(&self) -> u32 {
        self.lane.cell(self.place).count()
    }

    fn revoke(&self) {
        self.lane.cell(self.place).revoke();
    }

    fn publish(&self) {
        barrier::heavy();
    }

    fn collect(&self) -> Option<(V, u32)> {
        self.lane.turn.wait_for_owner();
        let inserts = self.used();
        let mut words = [0; LANE_WORDS];
        let words = &mut words[..V::lane_words()];
        self.lane.cell(self.place).copy(words);
        if inserts == 0 { None } else { Some((V::from_words(words)?, inserts)) }
    }
}
