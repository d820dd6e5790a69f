//! One partition: the table of pending generations, what is in flight, and their schedule.
//!
//! A generation is where it stands:
//!
//! | it is in | because | it leaves when |
//! |---|---|---|
//! | `pending`, timer armed | it absorbs inserts until its deadline | due: timer queued |
//! | `pending`, timer queued | it is due; still absorbs | taken: to `flying`; key still flying: timer parked |
//! | `pending`, timer parked | due, but the key's previous generation is in flight | that one settles: timer queued |
//! | `closed` | it could absorb no more while its key had to wait | taken, oldest first, before the pending one |
//! | `flying` | the driver has its data in a batch | settled or requeued by the driver |
//!
//! So that an insert touches little memory, a pending generation is kept inside its table bucket;
//! everything else that belongs to it is in its timer.

mod abandon;
mod closed;
mod deadlines;
mod insert;
mod journal;
mod leases;
mod read;
mod rivals;
mod settle;
mod take;
#[cfg(test)]
mod tests;
mod volume;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use hashbrown::HashTable;
use rand::rngs::SmallRng;

use super::sequence::Sequence;
use super::tick::Tick;
use super::timers::{Expired, TimerId, Timers};
use super::watch::Watches;
use crate::key::KeptHash;
use crate::stats::Stats;
use closed::{Closed, Generation};
use deadlines::Deadlines;
use journal::Changes;
use leases::Leases;
use rivals::Rivals;

pub(crate) use abandon::Abandoned;
pub(crate) use deadlines::{Step, Timing};
pub(crate) use insert::{Inserted, Lack, Need, Obstacle, Owned, Probe, Refused};
pub(crate) use leases::Lease;
pub(crate) use read::{InFlight, Moved};
pub(crate) use settle::{Settled, Settlement, Ticket};
pub(crate) use take::Numbering;

/// What a shard asks of its host while it inserts.
pub(crate) trait Host<K, V> {
    /// The time; asked only when a generation starts.
    fn now(&self) -> Duration;
    /// How long a generation that starts may stay, if not as long as any.
    fn interval(&self, key: &K, data: &V, now: Duration) -> Option<Duration>;
    /// Asked only when the table grows.
    fn hash(&self, key: &K) -> KeptHash;
}

#[derive(Debug)]
struct Pending<K, V> {
    key: K,
    data: V,
    /// How many inserts it holds, with those that are lent, and [`CLEAN`].
    count: u32,
    timer: TimerId,
}

/// The journal has seen all of a generation. No insert is absorbed just like that then.
const CLEAN: u32 = 1 << 31;

/// How many inserts a generation holds at most.
const MOST_INSERTS: u32 = CLEAN - 1;

impl<K, V> Pending<K, V> {
    /// With those that are lent: none, where leases have been ended.
    fn inserts(&self) -> u32 {
        self.count & !CLEAN
    }
}

/// With keys and totals of 8 bytes, as a counter has them.
const _: () = assert!(size_of::<Pending<u64, i64>>() == 24);

/// Marks that a generation of `key` is in the driver's hands.
#[derive(Debug)]
struct Flying<K> {
    key: K,
    hash: KeptHash,
    batch: Sequence,
    index: u32,
    count: u32,
    /// Whether `pending` holds a newer generation of this key.
    rejoined: bool,
}

#[derive(Debug)]
pub(crate) struct Shard<K, V, T> {
    pending: HashTable<Pending<K, V>>,
    /// No lower count means anything to a generation's deadline.
    first_step: u32,
    cold: Elsewhere<K, V, T>,
    /// Apart from the lock: those who spin on the lock keep fetching its cache line, and each write
    /// beside it would have to take the line away from them.
    busy: CachePadded<Busy>,
}

/// The rest of a partition: none as long as it is not made.
#[derive(Debug)]
struct Elsewhere<K, V, T>(Option<Box<CachePadded<Cold<K, V, T>>>>);

impl<K, V, T> Deref for Elsewhere<K, V, T> {
    type Target = Cold<K, V, T>;

    #[inline]
    fn deref(&self) -> &Cold<K, V, T> {
        self.0.as_ref().unwrap_or_else(|| unreachable!("the partition is made"))
    }
}

impl<K, V, T> DerefMut for Elsewhere<K, V, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Cold<K, V, T> {
        self.0.as_mut().unwrap_or_else(|| unreachable!("the partition is made"))
    }
}

/// What every insert writes.
#[derive(Debug, Default)]
struct Busy {
    /// Inserts that may be accepted without asking the driver; none when the partition is closed.
    /// Also tells how many have been accepted, and how many are pending.
    admissions: u64,
    /// Weight that may be used without asking the pool. Negative: owed to the pool, because aggregates
    /// have grown by more than they had announced.
    weight_credit: i64,
}

impl Busy {
    /// By how much the credit falls short of `weight`, what is owed included.
    #[inline]
    fn short_of(&self, weight: u64) -> Option<Need> {
        let short = self.weight_credit < 0 || weight > self.weight_credit as u64;
        short.then_some(Need { keys: 0, weight })
    }

    #[inline]
    fn use_weight(&mut self, weight: u64) {
        self.weight_credit = self.weight_credit.saturating_sub_unsigned(weight);
    }
}

/// In this order: what a new key touches comes first and shares a few cache lines.
#[derive(Debug)]
#[repr(C)]
struct Cold<K, V, T> {
    timers: Timers,
    /// Keys that may be added without asking the pool.
    key_credit: u64,
    flying: HashTable<Flying<K>>,
    tally: Tally,
    deadlines: Deadlines,
    closed: Closed<K, V>,
    /// All weight drawn from the pool and not given back, used or not.
    weight_granted: u64,
    /// All admissions there ever were and that were not taken back: used ones are accepted inserts.
    admitted: u64,
    /// Pending inserts that do not count towards the whole buffer's trigger any more.
    settled_inserts: u64,
    /// What the driver believes this partition to add to its count.
    on_record: u64,
    watches: Watches<K, T>,
    changes: Changes,
    leases: Leases<V>,
    rivals: Rivals,
    partition: u32,
    life: u64,
    open: bool,
}

/// What became of accepted inserts.
#[derive(Debug, Default)]
#[repr(C)]
struct Tally {
    keys: u64,
    /// Accepted and no longer pending. Kept apart from what is added up below, so that the two can be
    /// held against each other; counted on the way out because every insert would pay on the way in.
    left_pending: u64,
    in_flight: u64,
    undelivered: u64,
    flushed: u64,
    gave_up: u64,
    removed: u64,
    returned: u64,
    /// On disk only.
    spilled: u64,
    /// Came from a journal, and not by an insert.
    recovered: u64,
}

impl<K, V, T> Shard<K, V, T> {
    /// The place of a partition that is not made. All it can do is refuse inserts: it has no admissions.
    pub(crate) fn unmade() -> Self {
        let (pending, busy, cold) = (HashTable::new(), CachePadded::default(), Elsewhere(None));
        Shard { pending, first_step: u32::MAX, busy, cold }
    }

    /// `life`: which of all partitions that the buffer ever had, from 1.
    pub(crate) fn new(partition: u32, life: u64, timing: Timing, random: SmallRng, journaled: bool) -> Self {
        Shard {
            pending: HashTable::new(),
            first_step: timing.first_step(),
            busy: CachePadded::default(),
            cold: Elsewhere(Some(Box::new(CachePadded::new(Cold {
                open: true,
                timers: Timers::nth(partition),
                flying: HashTable::new(),
                closed: Closed::default(),
                key_credit: 0,
                weight_granted: 0,
                admitted: 0,
                settled_inserts: 0,
                on_record: 0,
                tally: Tally::default(),
                watches: Watches::default(),
                changes: Changes::new(journaled),
                leases: Leases::default(),
                rivals: Rivals::default(),
                deadlines: Deadlines::new(timing, random),
                partition,
                life,
            })))),
        }
    }

    /// Whether it is more than a place.
    #[inline]
    pub(crate) fn is_made(&self) -> bool {
        self.cold.0.is_some()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.cold.open
    }

    /// Whether nothing is pending and nothing in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.cold.flying.is_empty()
    }

    /// Whether it holds nothing, not even what is kept as undelivered: then its counters are all that it is.
    pub(crate) fn is_vacant(&self) -> bool {
        let Tally { keys, in_flight, undelivered, spilled, .. } = self.cold.tally;
        self.is_empty() && keys + in_flight + undelivered + spilled + self.cold.weight_granted == 0
    }

    /// Queues what is due at `now`, at most `budget` timers in one call.
    pub(crate) fn expire(&mut self, now: Tick, budget: usize) -> Expired {
        self.cold.timers.expire(now, budget)
    }

    /// Whether something is waiting to be taken.
    pub(crate) fn has_due(&self) -> bool {
        self.cold.timers.due().next().is_some()
    }

    /// Gives memory back if nothing is held.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.pending = HashTable::new();
            self.cold.flying = HashTable::new();
            self.cold.closed = Closed::default();
            self.cold.timers.shrink();
            self.cold.deadlines.shrink();
            self.cold.changes.clear();
            self.cold.leases = Leases::default();
        }
    }

    /// Adds room drawn from the pool.
    pub(crate) fn grant(&mut self, room: Need) {
        self.cold.key_credit += room.keys;
        self.cold.weight_granted += room.weight;
        self.busy.weight_credit = self.busy.weight_credit.saturating_add_unsigned(room.weight);
    }

    /// Gives up the room that is not in use.
    pub(crate) fn recall(&mut self) -> Need {
        let weight = u64::try_from(self.busy.weight_credit).unwrap_or(0);
        self.busy.weight_credit -= weight as i64;
        self.cold.weight_granted -= weight;
        Need { keys: std::mem::take(&mut self.cold.key_credit), weight }
    }

    /// What the data in this partition weighs.
    fn used_weight(&self) -> u64 {
        self.cold.weight_granted.saturating_add_signed(self.busy.weight_credit.saturating_neg())
    }

    /// What of that was not drawn from the pool.
    pub(crate) fn owed_weight(&self) -> u64 {
        u64::try_from(self.busy.weight_credit.saturating_neg()).unwrap_or(0)
    }

    /// Adds this partition's counters to `stats`.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        let tally = &self.cold.tally;
        // Once: what lanes have absorbed goes on changing.
        let accepted = self.accepted();
        stats.accepted += accepted;
        stats.pending += self.still_pending(accepted);
        stats.in_flight += tally.in_flight;
        stats.undelivered += tally.undelivered;
        stats.flushed += tally.flushed;
        stats.gave_up += tally.gave_up;
        stats.removed += tally.removed;
        stats.returned += tally.returned;
        stats.recovered += tally.recovered;
        stats.spilled += tally.spilled;
        stats.keys += tally.keys;
        stats.weight += self.used_weight();
    }
}
