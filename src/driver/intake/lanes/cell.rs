//! What one thread writes and others read: the protocol of lanes.
//!
//! A cell holds what its lane's owner has absorbed for one key under one lease. Only the owner writes count and words,
//! so it needs no read-modify-write for that; only whoever holds the partition's lock writes the limit.
//!
//! The owner [enters](Turn::enter): it makes the turn odd, passes a light fence, and looks whether the count is below the
//! limit. Only then it writes; and it makes the turn even, with `Release`, when it is done. Whoever takes a lease back sets
//! the limit to zero, passes a heavy fence, and [waits](Turn::wait_for_owner) until it has seen an even turn or another one. Of the
//! two, one sees the other: either the owner finds the limit at zero and writes nothing, or its odd turn is seen and
//! waited for. A turn that has changed since, read with `Acquire`, brings all that was written under it.

use crossbeam_utils::CachePadded;

use crate::LANE_WORDS;
use crate::driver::barrier::Light;
use crate::driver::sync::{AtomicU32, AtomicU64, Ordering, yield_now};

/// Odd while the owner is at a cell of its lane. Written by the owner alone.
#[derive(Debug)]
pub(crate) struct Turn {
    turn: CachePadded<AtomicU64>,
    light: Light,
}

#[derive(Debug)]
pub(crate) struct Cell {
    /// How many inserts may be made: none when the lease is taken back. Relaxed: ordered by the partition's lock, and by
    /// the fences.
    limit: AtomicU32,
    /// How many have been made. Relaxed: ordered by the turn.
    count: AtomicU32,
    /// What they have come to, if there are any. Relaxed, likewise.
    words: [AtomicU64; LANE_WORDS],
}

/// The owner is at its cell, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    turn: &'a AtomicU64,
    next: u64,
    cell: &'a Cell,
    count: u32,
}

impl Turn {
    pub(crate) fn new(light: Light) -> Self {
        Turn { turn: CachePadded::new(AtomicU64::new(0)), light }
    }

    /// The owner comes to one of its cells. `None` if the lease is used up or taken back, or if it is at a cell already,
    /// because code of the user has called the buffer from there.
    #[inline(always)]
    pub(crate) fn enter<'a>(&'a self, cell: &'a Cell) -> Option<Entered<'a>> {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn % 2 == 1 {
            return None;
        }
        // Release: whoever waits for the turn before may see this one instead of the even one between.
        self.turn.store(turn + 1, Ordering::Release);
        let count = cell.count.load(Ordering::Relaxed);
        let entered = Entered { turn: &self.turn, next: turn + 2, cell, count };
        self.light.pass();
        (count < cell.limit.load(Ordering::Relaxed)).then_some(entered)
    }

    /// How often the owner has come.
    pub(crate) fn entered(&self) -> u64 {
        self.turn.load(Ordering::Relaxed) / 2
    }

    /// Waits until the owner has left the cell at which it may be. Called after a heavy fence.
    pub(crate) fn wait_for_owner(&self) {
        let turn = self.turn.load(Ordering::Acquire);
        while turn % 2 == 1 && self.turn.load(Ordering::Acquire) == turn {
            yield_now();
        }
    }
}

impl Entered<'_> {
    /// How many inserts the cell holds, and what they have come to.
    #[inline(always)]
    pub(crate) fn read(&self, words: &mut [u64]) -> u32 {
        self.cell.copy(words);
        self.count
    }

    /// There is one more insert, and this is what they have come to.
    #[inline(always)]
    pub(crate) fn write(self, words: &[u64]) {
        for (place, word) in self.cell.words.iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        self.cell.count.store(self.count + 1, Ordering::Relaxed);
    }
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.turn.store(self.next, Ordering::Release);
    }
}

impl Cell {
    pub(crate) fn new() -> Self {
        let words = std::array::from_fn(|_| AtomicU64::new(0));
        Cell { limit: AtomicU32::new(0), count: AtomicU32::new(0), words }
    }

    /// A new lease. Called by the owner, under the partition's lock, when there is none.
    pub(crate) fn open(&self, inserts: u32) {
        self.count.store(0, Ordering::Relaxed);
        self.limit.store(inserts, Ordering::Relaxed);
    }

    /// The key had a lease of which so many inserts were made. Called by the owner, before anybody knows the cell.
    pub(crate) fn remember(&self, inserts: u32) {
        self.count.store(inserts, Ordering::Relaxed);
    }

    /// The lease is taken back. Called under the partition's lock.
    pub(crate) fn revoke(&self) {
        self.limit.store(0, Ordering::Relaxed);
    }

    /// Whether there is a lease, and whether it is used up.
    pub(crate) fn is_open(&self) -> (bool, bool) {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0, limit > 0 && self.count() >= limit)
    }

    /// How many inserts were made of the lease that there is, or of the last one.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// What they have come to. Called by the owner, or after it was waited for.
    #[inline(always)]
    pub(crate) fn copy(&self, words: &mut [u64]) {
        for (word, place) in words.iter_mut().zip(&self.words) {
            *word = place.load(Ordering::Relaxed);
        }
    }
}
