//! The schedule of one partition: a hierarchical timing wheel and the queue of what is due.
//!
//! Hashed hierarchical wheels: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987.
//! Inert: the host says what time it is, and gets back when to come again. Timers live in one slab
//! and are chained by index, so arming and cancelling are O(1) and a cancelled timer leaves nothing
//! behind. Every bucket is a ring through a sentinel node, so a timer can be unlinked without
//! knowing which ring it is in.

mod node;
#[cfg(test)]
mod tests;

use super::tick::Tick;
use crate::batch::FlushReason;
use crate::key::KeptHash;
use node::Node;

pub(crate) use node::State;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 5;
/// Ring of the timers that are due, in the order in which they fell due.
const DUE: u32 = (LEVELS * SLOTS) as u32;
const SENTINELS: usize = LEVELS * SLOTS + 1;
/// How far ahead a timer can be placed without meeting the current bucket of the top level again.
const REACH: Tick = ((SLOTS as Tick) - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NIL: u32 = u32::MAX;
/// From one wheel's phase to the next one's, in ticks: odd, so that 64 wheels in a row have 64 phases within
/// the 64 ticks of a bucket of level 1; and as close as that allows to the golden section of the 4 096 of
/// level 2, by which any number of them is spread evenly (Knuth, "Sorting and Searching", 6.4).
const PHASE: u32 = 2_531;

/// A timer that is in use. Once it is cancelled its id may be another one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TimerId(u32);

impl TimerId {
    /// Where among all timers this one is: counts up from zero.
    #[inline]
    pub(crate) fn place(self) -> usize {
        self.0 as usize - SENTINELS
    }
}

/// What [`Timers::expire`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The budget ran out first; call again.
    More,
    /// All that is due is queued. Come back at this tick, if any.
    Until(Option<Tick>),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Sentinels first, then timers. Empty until the first timer is armed.
    nodes: Vec<Node>,
    /// Which buckets of a level may be non-empty.
    occupied: [u64; LEVELS],
    /// All timers of earlier ticks have left the wheel.
    elapsed: Tick,
    /// By how many ticks the wheel's buckets begin early.
    phase: u32,
    free: u32,
    live: u32,
}

impl Timers {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live as usize
    }

    /// The `number`th of several wheels. When a bucket of a higher level begins, its timers are
    /// distributed to lower ones, which takes time; so each wheel has its buckets begin at other times.
    pub(crate) fn nth(number: u32) -> Self {
        Timers { phase: number.wrapping_mul(PHASE) % (SLOTS * SLOTS) as u32, ..Timers::default() }
    }

    /// Gives all memory back if no timer is live.
    pub(crate) fn shrink(&mut self) {
        if self.live == 0 {
            *self = Timers { elapsed: self.elapsed, phase: self.phase, ..Timers::default() };
        }
    }

    pub(crate) fn hash(&self, timer: TimerId) -> KeptHash {
        self.nodes[timer.0 as usize].hash()
    }

    pub(crate) fn state(&self, timer: TimerId) -> State {
        self.nodes[timer.0 as usize].state()
    }

    /// The timer's deadline.
    pub(crate) fn deadline(&self, timer: TimerId) -> Tick {
        self.widen(self.nodes[timer.0 as usize].tick)
    }

    /// The timers in use among the next `count` slab places from `from`, and where to go on.
    /// Timers armed meanwhile may be missed.
    pub(crate) fn scan(
        &self,
        from: usize,
        count: usize,
    ) -> (impl Iterator<Item = TimerId> + '_, Option<usize>) {
        let start = (SENTINELS + from).min(self.nodes.len());
        let end = (start + count).min(self.nodes.len());
        let live = (start..end).filter(|&index| self.nodes[index].state() != State::Free);
        let next = (end < self.nodes.len()).then(|| end - SENTINELS);
        (live.map(|index| TimerId(index as u32)), next)
    }

    /// The timer that will be armed next.
    pub(crate) fn next(&self) -> TimerId {
        TimerId(match self.nodes.len() {
            0 => SENTINELS as u32,
            len if self.free == NIL => len as u32,
            _ => self.free,
        })
    }

    /// Adds a timer that fires at `tick`, no earlier.
    pub(crate) fn arm(&mut self, hash: KeptHash, now: Tick, tick: Tick) -> TimerId {
        if self.live == 0 {
            self.elapsed = self.elapsed.max(now);
        }
        if self.nodes.is_empty() {
            self.nodes.extend((0..SENTINELS as u32).map(Node::alone));
            self.free = NIL;
        }
        self.live += 1;
        let ring = self.ring_for(tick);
        let last = self.nodes[ring as usize].prev;
        let mark = Node::mark(hash, State::Armed);
        let node = Node { tick: tick as u32, mark, prev: last, next: ring };
        let timer = self.keep(node);
        self.nodes[last as usize].next = timer.0;
        self.nodes[ring as usize].prev = timer.0;
        timer
    }

    /// Moves a timer to a new tick, whatever its state.
    pub(crate) fn rearm(&mut self, timer: TimerId, tick: Tick) {
        self.unlink(timer);
        self.set_armed(timer, tick);
    }

    /// Moves a deadline forward, never back. Says whether an armed timer was moved; one that is due
    /// only gets a new deadline on record.
    pub(crate) fn pull_forward(&mut self, timer: TimerId, tick: Tick) -> bool {
        if tick >= self.deadline(timer) {
            return false;
        }
        let armed = self.state(timer) == State::Armed;
        if armed {
            self.rearm(timer, tick)
        } else {
            self.set_deadline(timer, tick)
        }
        armed
    }

    /// Makes an armed or parked timer due now; its deadline stays on record. A queued one keeps
    /// its place. Says whether something changed.
    pub(crate) fn queue(&mut self, timer: TimerId, reason: FlushReason) -> bool {
        if let State::Queued(_) = self.state(timer) {
            return false;
        }
        self.unlink(timer);
        self.nodes[timer.0 as usize].set_state(State::Queued(reason));
        self.push_back(DUE, timer);
        true
    }

    /// Asks for a flush: makes an armed timer due and says so. One that is due already keeps its
    /// place, and a parked one goes on waiting its turn, but for this reason now.
    pub(crate) fn request(&mut self, timer: TimerId, reason: FlushReason) -> bool {
        let node = &mut self.nodes[timer.0 as usize];
        match node.state() {
            State::Armed => return self.queue(timer, reason),
            State::Queued(_) => node.set_state(State::Queued(reason)),
            State::Parked(_) => node.set_state(State::Parked(reason)),
            State::Free => {}
        }
        false
    }

    /// Changes the deadline on record without touching the ring that the timer is in; for timers
    /// that are due.
    pub(crate) fn set_deadline(&mut self, timer: TimerId, tick: Tick) {
        self.nodes[timer.0 as usize].tick = tick as u32;
    }

    /// Takes a timer out of its ring until the key's flight is settled.
    pub(crate) fn park(&mut self, timer: TimerId, reason: FlushReason) {
        self.unlink(timer);
        self.nodes[timer.0 as usize].set_state(State::Parked(reason));
    }

    pub(crate) fn cancel(&mut self, timer: TimerId) {
        self.unlink(timer);
        let node = &mut self.nodes[timer.0 as usize];
        node.set_state(State::Free);
        node.next = self.free;
        self.free = timer.0;
        self.live -= 1;
    }

    /// The timers that are due with their hashes and why, those due longest first. The ring ends with its
    /// sentinel, which is not queued.
    pub(crate) fn due(&self) -> impl Iterator<Item = (TimerId, KeptHash, FlushReason)> + '_ {
        let mut place = self.nodes.get(DUE as usize).map_or(DUE, |due| due.next);
        std::iter::from_fn(move || {
            let (timer, node) = (TimerId(place), self.nodes.get(place as usize)?);
            let State::Queued(reason) = node.state() else { return None };
            place = node.next;
            Some((timer, node.hash(), reason))
        })
    }

    /// Queues what is due at `now`, at most `budget` moves of timers in one call.
    pub(crate) fn expire(&mut self, now: Tick, mut budget: usize) -> Expired {
        loop {
            let Some((bucket, start)) = self.next_bucket() else {
                self.elapsed = self.elapsed.max(now);
                return Expired::Until(None);
            };
            if start > now {
                self.elapsed = self.elapsed.max(now);
                return Expired::Until(Some(start));
            }
            self.elapsed = self.elapsed.max(start);
            while let Some(timer) = self.first_of(bucket) {
                if budget == 0 {
                    return Expired::More;
                }
                budget -= 1;
                let tick = self.deadline(timer);
                if tick <= now {
                    self.queue(timer, FlushReason::Deadline);
                } else {
                    self.rearm(timer, tick);
                }
            }
        }
    }

    /// The armed timer with the nearest deadline, to the accuracy of its bucket: the buckets grow
    /// with the distance, and within one the timer armed first comes first.
    pub(crate) fn nearest(&mut self) -> Option<TimerId> {
        let (bucket, _) = self.next_bucket()?;
        self.first_of(bucket)
    }

    fn first_of(&self, bucket: usize) -> Option<TimerId> {
        Some(self.nodes[bucket].next).filter(|&first| first as usize != bucket).map(TimerId)
    }

    /// The earliest bucket that holds a timer, and the tick at which it begins.
    fn next_bucket(&mut self) -> Option<(usize, Tick)> {
        loop {
            let (bucket, start) = self.next_occupied()?;
            if self.first_of(bucket).is_some() {
                return Some((bucket, start));
            }
            // Its timers have been moved or cancelled since.
            self.occupied[bucket / SLOTS] &= !(1 << (bucket % SLOTS));
        }
    }

    fn next_occupied(&self) -> Option<(usize, Tick)> {
        let mut earliest = None;
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let current = self.turned(self.elapsed) >> shift;
            let distance = occupied.rotate_right((current % SLOTS as Tick) as u32).trailing_zeros();
            let position = current + Tick::from(distance);
            let start = position << shift;
            if earliest.is_none_or(|(_, best)| start < best) {
                earliest = Some((level * SLOTS + (position % SLOTS as Tick) as usize, start));
            }
        }
        earliest.map(|(bucket, start)| (bucket, start.saturating_sub(Tick::from(self.phase))))
    }

    /// What the wheel takes a tick for, as it is turned by its phase.
    fn turned(&self, tick: Tick) -> Tick {
        tick + Tick::from(self.phase)
    }

    fn set_armed(&mut self, timer: TimerId, tick: Tick) {
        let node = &mut self.nodes[timer.0 as usize];
        node.tick = tick as u32;
        node.set_state(State::Armed);
        let ring = self.ring_for(tick);
        self.push_back(ring, timer);
    }

    /// The bucket for a tick, which is about to get a timer.
    fn ring_for(&mut self, tick: Tick) -> u32 {
        // A tick in the past goes to the bucket that is looked at next.
        let tick = self.turned(tick.clamp(self.elapsed, self.elapsed + REACH));
        let level = level_of(self.turned(self.elapsed), tick);
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        (level * SLOTS + slot) as u32
    }

    /// Completes a stored tick: at most 2^31 ms before or after the wheel's own time.
    fn widen(&self, tick: u32) -> Tick {
        let ahead = tick.wrapping_sub(self.elapsed as u32) as i32;
        self.elapsed.saturating_add_signed(i64::from(ahead))
    }

    /// Puts a node into the slab.
    fn keep(&mut self, node: Node) -> TimerId {
        let index = self.free;
        if index == NIL {
            let index = self.nodes.len() as u32;
            self.reserve_one();
            self.nodes.push(node);
            return TimerId(index);
        }
        let place = &mut self.nodes[index as usize];
        self.free = place.next;
        *place = node;
        TimerId(index)
    }

    /// Grows into fresh memory. Growing in place leaves remainders that allocators keep for small
    /// blocks; one of those at the top of a heap keeps all of it from going back to the system when
    /// the buffer rests.
    #[inline]
    fn reserve_one(&mut self) {
        if self.nodes.len() == self.nodes.capacity() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let mut roomier = Vec::with_capacity(2 * self.nodes.capacity());
        roomier.append(&mut self.nodes);
        self.nodes = roomier;
    }

    fn push_back(&mut self, ring: u32, timer: TimerId) {
        let last = self.nodes[ring as usize].prev;
        self.nodes[timer.0 as usize].prev = last;
        self.nodes[timer.0 as usize].next = ring;
        self.nodes[last as usize].next = timer.0;
        self.nodes[ring as usize].prev = timer.0;
    }

    fn unlink(&mut self, timer: TimerId) {
        let Node { prev, next, .. } = self.nodes[timer.0 as usize];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        self.nodes[timer.0 as usize].prev = timer.0;
        self.nodes[timer.0 as usize].next = timer.0;
    }
}

/// The level on which two ticks first differ.
fn level_of(elapsed: Tick, tick: Tick) -> usize {
    let differing = (elapsed ^ tick) | (SLOTS as Tick - 1);
    let top_bit = Tick::BITS - 1 - differing.leading_zeros();
    ((top_bit / SLOT_BITS) as usize).min(LEVELS - 1)
}
