//! Inserting many items: one lock for those that belong to the same partition.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{HOLD, ShardGuard, Spot};
use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::engine::shard::{Inserted, Obstacle, Owned, Probe, Refused};
use crate::error::{InsertError, InsertErrorKind, InsertManyError};
use crate::key::{KeptHash, Key};

/// How many items are gathered, at most, before they are inserted.
const CHUNK: usize = 2048;

/// How many items show whether those that follow are likely to share partitions.
const SAMPLE: usize = 16;

/// No slot.
const NONE: u32 = u32::MAX;

/// One item of a chunk.
struct Slot<K, I> {
    /// Taken only if it is to be kept: one that is there already is dropped here, outside the lock.
    key: Option<K>,
    item: Option<I>,
    hash: KeptHash,
    /// The next slot of the same partition.
    next: u32,
}

/// Items in the order of arrival, and chained by partition in the same order.
struct Chunk<K, I> {
    slots: Vec<Slot<K, I>>,
    /// The first and the last slot of each partition.
    chains: Vec<(u32, u32)>,
    /// The partitions that have any, the one that got its first item first in front.
    filled: VecDeque<usize>,
}

impl<K, I> Chunk<K, I> {
    fn new(partitions: usize, items: usize) -> Self {
        Chunk {
            slots: Vec::with_capacity(items.clamp(SAMPLE, CHUNK)),
            chains: vec![(NONE, NONE); partitions],
            filled: VecDeque::with_capacity(SAMPLE),
        }
    }

    #[inline]
    fn push(&mut self, spot: Spot, key: K, item: I) {
        let slot = self.slots.len() as u32;
        let (first, last) = &mut self.chains[spot.partition];
        match self.slots.get_mut(*last as usize) {
            Some(before) => before.next = slot,
            None => {
                *first = slot;
                self.filled.push_back(spot.partition);
            }
        }
        *last = slot;
        self.slots.push(Slot { key: Some(key), item: Some(item), hash: spot.hash, next: NONE });
    }

    /// Whether few of the items share a partition.
    fn is_spread(&self) -> bool {
        self.filled.len() * 4 > self.slots.len()
    }
}

/// The key in a slot.
struct InSlot<'a, K>(&'a mut Option<K>);

impl<K: Eq> Probe<K> for InSlot<'_, K> {
    fn matches(&self, key: &K) -> bool {
        self.0.as_ref() == Some(key)
    }

    fn into_key(self) -> K {
        self.0.take().unwrap_or_else(|| unreachable!("a key is taken once"))
    }
}

/// What became of the items so far.
struct Summary<K, I> {
    accepted: usize,
    kind: Option<InsertErrorKind>,
    rejected: Vec<(K, I)>,
}

impl<K, I> Summary<K, I> {
    fn reject(&mut self, refused: InsertError<(K, I)>) {
        self.kind.get_or_insert(refused.kind);
        self.rejected.push(refused.rejected);
    }

    fn into_result(self) -> Result<(), InsertManyError<K, I>> {
        let Summary { accepted, kind, rejected } = self;
        kind.map_or(Ok(()), |kind| Err(InsertManyError { kind, accepted, rejected }))
    }
}

/// Items that were refused, with their places in the chunk.
type Refusals<K, I> = Vec<(u32, InsertError<(K, I)>)>;

/// An item, by its place, that could not be absorbed, and the lock under which that was so.
type Left<'a, K, V> = (u32, ShardGuard<'a, K, V>, Refused<<V as Aggregate>::Item, Obstacle>);

impl<K: Key, V: Aggregate, S: BuildHasher> Core<K, V, S> {
    /// Inserts items chunk by chunk; or one by one, where there are too few of them for their
    /// partitions and gathering would cost more than the locks that it saves.
    pub(crate) fn insert_many(
        &self,
        items: impl Iterator<Item = (K, V::Item)>,
    ) -> Result<(), InsertManyError<K, V::Item>> {
        if let Err(barred) = self.may_insert() {
            let (kind, rejected): (_, Vec<_>) = (barred.into(), items.collect());
            self.note_refused(kind, rejected.len() as u64);
            return Err(InsertManyError { kind, accepted: 0, rejected });
        }
        let mut items = items.fuse();
        let mut chunk = Chunk::new(self.intake.partitions(), items.size_hint().0);
        let mut summary = Summary { accepted: 0, kind: None, rejected: Vec::new() };
        loop {
            let gathered = catch_unwind(AssertUnwindSafe(|| self.gather(&mut items, &mut chunk)));
            let one_by_one = chunk.is_spread() && chunk.slots.len() == SAMPLE;
            // What has been gathered is inserted whoever panicked.
            let inserted = self.insert_chunk(&mut chunk, &mut summary);
            if let Err(panic) = gathered.and(inserted) {
                resume_unwind(panic);
            }
            if chunk.slots.is_empty() {
                return summary.into_result();
            }
            chunk.slots.clear();
            if one_by_one {
                self.insert_one_by_one(items.by_ref().take(CHUNK), &mut summary);
            }
        }
    }

    fn insert_one_by_one(
        &self,
        items: impl Iterator<Item = (K, V::Item)>,
        summary: &mut Summary<K, V::Item>,
    ) {
        for (key, item) in items {
            match self.insert(self.intake.spot(&key), Owned(key), item) {
                Ok(()) => summary.accepted += 1,
                Err(refused) => {
                    summary.reject(self.refuse(refused, |(Owned(key), item)| (key, item)));
                }
            }
        }
    }

    /// A whole chunk if there is one, or if a sample says that it is worth while.
    fn gather(&self, items: &mut impl Iterator<Item = (K, V::Item)>, chunk: &mut Chunk<K, V::Item>) {
        let first = if items.size_hint().0 >= CHUNK { CHUNK } else { SAMPLE };
        items.by_ref().take(first).for_each(|(key, item)| chunk.push(self.intake.spot(&key), key, item));
        if first == SAMPLE && !chunk.is_spread() {
            let rest = items.by_ref().take(CHUNK - SAMPLE);
            rest.for_each(|(key, item)| chunk.push(self.intake.spot(&key), key, item));
        }
    }

    /// Inserts a chunk's items. Err: the first panic of a key's or an aggregate's method.
    fn insert_chunk(
        &self,
        chunk: &mut Chunk<K, V::Item>,
        summary: &mut Summary<K, V::Item>,
    ) -> std::thread::Result<()> {
        let mut refusals = Vec::new();
        let mut result = Ok(());
        let mut insert = || self.insert_chains(chunk, &mut refusals);
        // Again after a panic: the item that caused it has been passed by.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut insert)) {
            result = result.and(Err(panic));
        }
        summary.accepted += chunk.slots.len() - refusals.len();
        refusals.sort_unstable_by_key(|(index, _)| *index);
        if let Some((_, refused)) = refusals.first() {
            self.note_refused(refused.kind, refusals.len() as u64);
        }
        refusals.into_iter().for_each(|(_, refused)| summary.reject(refused));
        result
    }

    fn insert_chains(&self, chunk: &mut Chunk<K, V::Item>, refusals: &mut Refusals<K, V::Item>) {
        while let Some(&partition) = chunk.filled.front() {
            let next = &mut chunk.chains[partition].0;
            while let Some((index, shard, unabsorbed)) = self.absorb_some(partition, next, &mut chunk.slots) {
                let slot = &mut chunk.slots[index as usize];
                let spot = Spot { partition, hash: slot.hash };
                let settled = self.insert_unabsorbed(spot, shard, InSlot(&mut slot.key), unabsorbed);
                if let Err(InsertError { kind, rejected: (key, item) }) = settled {
                    refusals.push((index, InsertError::new(kind, (key.into_key(), item))));
                }
            }
            if *next == NONE {
                chunk.chains[partition] = (NONE, NONE);
                chunk.filled.pop_front();
            }
        }
    }

    /// Goes along a chain under one lock as long as items can be absorbed and the lock may be held.
    /// Returns the item that was in the way, if one was.
    fn absorb_some(
        &self,
        partition: usize,
        next: &mut u32,
        slots: &mut [Slot<K, V::Item>],
    ) -> Option<Left<'_, K, V>> {
        let mut shard = self.intake.lock(partition);
        for _ in 0..HOLD {
            let slot = slots.get_mut(*next as usize)?;
            let index = mem::replace(next, slot.next);
            let inserted = match shard.absorb(slot.hash, &InSlot(&mut slot.key), slot.item.take()?) {
                Ok((inserted, displaced)) => {
                    // Dropped with its slot, outside the lock.
                    slot.item = displaced;
                    inserted
                }
                Err(unabsorbed) => return Some((index, shard, unabsorbed)),
            };
            if inserted != Inserted::Absorbed {
                drop(shard);
                self.follow_up(inserted);
                return None;
            }
        }
        None
    }
}
