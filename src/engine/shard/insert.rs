use std::hash::Hash;

use super::super::tick::{self, Tick};
use super::super::timers::TimerId;
use super::{Busy, Generation, Host, MOST_INSERTS, Pending, Shard};
use crate::aggregate::Aggregate;
use crate::batch::FlushReason;
use crate::key::{KeptHash, ToKey};

/// A key to look for, which can become one to keep.
pub(crate) trait Probe<K> {
    fn matches(&self, key: &K) -> bool;
    fn into_key(self) -> K;
}

/// A key by value.
pub(crate) struct Owned<K>(pub(crate) K);

impl<K: Eq> Probe<K> for Owned<K> {
    fn matches(&self, key: &K) -> bool {
        self.0 == *key
    }

    fn into_key(self) -> K {
        self.0
    }
}

impl<K, Q: ?Sized + ToKey<K>> Probe<K> for &Q {
    fn matches(&self, key: &K) -> bool {
        self.equivalent(key)
    }

    fn into_key(self) -> K {
        self.to_key()
    }
}

/// What an accepted insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// Joined a generation that was there.
    Absorbed,
    /// Started a generation that is due at this tick.
    Armed(Tick),
    /// Made a generation due now.
    Due,
}

/// What an accepted insert did, and an item that the aggregate has let go of.
pub(crate) type Taken<I> = (Inserted, Option<I>);

/// What became of an insert that was not absorbed just like that.
pub(crate) type Overcome<P, I> = Result<Taken<I>, Refused<(P, I), Lack>>;

/// Room that an insert needs, or that the pool gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Need {
    pub(crate) keys: u64,
    pub(crate) weight: u64,
}

/// An insert that was refused: what is given back, and why.
pub(crate) struct Refused<T, W> {
    pub(crate) back: T,
    pub(crate) why: W,
}

/// Why a key's generation did not take an item just like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The shard is closed, or its admissions are used up.
    NotAdmitted,
    NoGeneration,
    /// The generation can absorb no more, or not before a journal is told.
    Unfit,
    /// The shard's credit does not cover this.
    Short(Need),
}

/// What a shard needs from outside before it can take an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is not made.
    Making,
    /// It is closed: nothing helps.
    Opening,
    Admission,
    Room(Need),
}

/// Settles the weight of an aggregate on what it really became, even if `absorb` panics.
struct Weighing<'a, V: Aggregate> {
    data: &'a mut V,
    before: u64,
    credit: &'a mut Busy,
}

impl<V: Aggregate> Drop for Weighing<'_, V> {
    #[inline]
    fn drop(&mut self) {
        let after = self.data.weight();
        // Told apart so that nothing is written where the weight never changes.
        if after > self.before {
            self.credit.use_weight(after - self.before);
        } else if after < self.before {
            self.credit.weight_credit =
                self.credit.weight_credit.saturating_add_unsigned(self.before - after);
        }
    }
}

fn nothing_displaced<I>(inserted: Inserted) -> Taken<I> {
    (inserted, None)
}

/// Why a generation is due before its deadline.
fn early(completed: bool) -> FlushReason {
    if completed { FlushReason::Complete } else { FlushReason::Size }
}

impl<K: Hash + Eq + Clone, V: Aggregate, T> Shard<K, V, T> {
    /// Adds an item to its key's generation if that takes it just like that. Returns what that lets go of.
    ///
    /// Everything else is left to [`overcome`](Self::overcome), so that this takes few instructions: the
    /// fewer they are, the more inserts a processor has under way while it waits for memory.
    #[inline(always)]
    pub(crate) fn absorb<P: Probe<K>>(
        &mut self,
        hash: KeptHash,
        probe: &P,
        item: V::Item,
    ) -> Result<Taken<V::Item>, Refused<V::Item, Obstacle>> {
        if self.busy.admissions == 0 {
            return Err(Refused { back: item, why: Obstacle::NotAdmitted });
        }
        let Some(pending) = self.pending.find_mut(hash.spread(), |pending| probe.matches(&pending.key))
        else {
            return Err(Refused { back: item, why: Obstacle::NoGeneration });
        };
        if pending.count >= MOST_INSERTS || !pending.data.accepts(&item) {
            return Err(Refused { back: item, why: Obstacle::Unfit });
        }
        if let Some(need) = self.busy.short_of(pending.data.growth(&item)) {
            return Err(Refused { back: item, why: Obstacle::Short(need) });
        }
        let (was_ready, before) = (pending.data.is_ready(), pending.data.weight());
        let weighing = Weighing { data: &mut pending.data, before, credit: &mut self.busy };
        let displaced = weighing.data.displace(item);
        drop(weighing);
        let completed = !was_ready && pending.data.is_ready();
        let count = pending.count + 1;
        pending.count = count;
        self.busy.admissions -= 1;
        if count < self.first_step && !completed {
            return Ok((Inserted::Absorbed, displaced));
        }
        let timer = pending.timer;
        let inserted =
            if completed { self.fall_due(timer, FlushReason::Complete) } else { self.reach(timer, count) };
        Ok((inserted, displaced))
    }

    /// The generation has absorbed so many inserts, which may be one of the steps.
    #[cold]
    fn reach(&mut self, timer: TimerId, counted: u32) -> Inserted {
        let Some(count) = self.reached(timer, counted) else { return Inserted::Absorbed };
        let cold = &mut *self.cold;
        match cold.deadlines.step(timer, count) {
            Some((step, _)) if step.within.is_zero() => self.fall_due(timer, FlushReason::Size),
            Some((_, tick)) if cold.timers.pull_forward(timer, tick) => Inserted::Armed(tick),
            _ => Inserted::Absorbed,
        }
    }

    /// How many inserts a generation really has, if they may be as many as a step. Ends its leases to find out.
    fn reached(&mut self, timer: TimerId, counted: u32) -> Option<u32> {
        let lent = self.cold.leases.lent(timer);
        if lent == 0 {
            return Some(counted);
        }
        // No lease goes as far as a step: it is this very insert or a later one that gets there.
        let next = self.cold.deadlines.next_step(counted - lent - 1)?;
        if counted < next {
            return None;
        }
        self.end_leases(timer);
        let hash = self.cold.timers.hash(timer).spread();
        self.pending.find(hash, |pending| pending.timer == timer).map(super::Pending::inserts)
    }

    /// Overcomes what was in the way of [`absorb`](Self::absorb), if a new generation does.
    pub(crate) fn overcome<P: Probe<K>>(
        &mut self,
        hash: KeptHash,
        probe: P,
        refused: Refused<V::Item, Obstacle>,
        host: &impl Host<K, V>,
    ) -> Overcome<P, V::Item> {
        let Refused { back: item, why } = refused;
        let why = match why {
            Obstacle::NoGeneration => return self.start(hash, probe, item, host).map(nothing_displaced),
            Obstacle::Unfit
                if self.touch(hash, &probe) || self.end_leases_of(hash, |key| probe.matches(key)) =>
            {
                match self.absorb(hash, &probe, item) {
                    Ok(taken) => return Ok(taken),
                    Err(refused) => return self.overcome(hash, probe, refused, host),
                }
            }
            Obstacle::Unfit => {
                return self.close_and_start(hash, probe, item, host).map(nothing_displaced);
            }
            Obstacle::Short(need) => Lack::Room(need),
            Obstacle::NotAdmitted if !self.is_made() => Lack::Making,
            Obstacle::NotAdmitted if self.cold.open => Lack::Admission,
            Obstacle::NotAdmitted => Lack::Opening,
        };
        Err(Refused { back: (probe, item), why })
    }

    #[cold]
    fn fall_due(&mut self, timer: TimerId, reason: FlushReason) -> Inserted {
        if self.cold.timers.request(timer, reason) { Inserted::Due } else { Inserted::Absorbed }
    }

    /// The first insert of a generation.
    fn start<P: Probe<K>>(
        &mut self,
        hash: KeptHash,
        probe: P,
        item: V::Item,
        host: &impl Host<K, V>,
    ) -> Result<Inserted, Refused<(P, V::Item), Lack>> {
        let cold = &mut *self.cold;
        let flying = cold.flying.find_mut(hash.spread(), |flying| probe.matches(&flying.key));
        let need = Need { keys: u64::from(flying.is_none()), weight: V::start_weight(&item) };
        if need.keys > cold.key_credit || self.busy.short_of(need.weight).is_some() {
            return Err(Refused { back: (probe, item), why: Lack::Room(need) });
        }
        // The user's code first: if it panics, nothing has changed yet.
        let (key, data) = (probe.into_key(), V::start(item));
        let completed = data.is_ready();
        self.busy.use_weight(data.weight());
        cold.key_credit -= need.keys;
        cold.tally.keys += need.keys;
        if let Some(flying) = flying {
            flying.rejoined = true;
        }
        let pending = Pending { key, data, count: 1, timer: cold.timers.next() };
        let pending =
            self.pending.insert_unique(hash.spread(), pending, |other| host.hash(&other.key).spread());
        let Pending { key, data, .. } = pending.get();
        // Not before the table is written to: reading a clock has the processor wait for what it has
        // asked memory for, and meanwhile the table's cache line is on its way.
        let now = host.now();
        let deadline = cold.deadlines.draw(now, host.interval(key, data, now));
        let timer = cold.timers.arm(hash, tick::floor(now), deadline.tick);
        cold.deadlines.note(timer, deadline);
        cold.changes.note(timer);
        self.busy.admissions -= 1;
        if self.first_step == 1 || completed {
            cold.timers.queue(timer, early(completed));
            return Ok(Inserted::Due);
        }
        Ok(Inserted::Armed(deadline.tick))
    }

    /// The generation cannot absorb the item: it is set aside to be flushed first, and the item
    /// starts the next one.
    #[cold]
    fn close_and_start<P: Probe<K>>(
        &mut self,
        hash: KeptHash,
        probe: P,
        item: V::Item,
        host: &impl Host<K, V>,
    ) -> Result<Inserted, Refused<(P, V::Item), Lack>> {
        if let Some(need) = self.busy.short_of(V::start_weight(&item)) {
            return Err(Refused { back: (probe, item), why: Lack::Room(need) });
        }
        let cold = &mut *self.cold;
        let data = V::start(item);
        let completed = data.is_ready();
        self.busy.use_weight(data.weight());
        let pending = self
            .pending
            .find_mut(hash.spread(), |pending| probe.matches(&pending.key))
            .expect("the caller has found it");
        let older = Generation {
            data: std::mem::replace(&mut pending.data, data),
            count: std::mem::replace(&mut pending.count, 1),
        };
        cold.closed.push_back(&pending.key, older);
        let timer = pending.timer;
        let now = host.now();
        let deadline = cold.deadlines.draw(now, host.interval(&pending.key, &pending.data, now));
        cold.deadlines.note(timer, deadline);
        self.busy.admissions -= 1;
        let inserted = self.fall_due(timer, early(completed));
        self.cold.timers.set_deadline(timer, deadline.tick);
        Ok(inserted)
    }
}
