//! A timer in the slab: where it stands and what it belongs to, in sixteen bytes.

use crate::batch::FlushReason;
use crate::key::KeptHash;

const STATE_BITS: u32 = u32::BITS - KeptHash::BITS;

/// Where a timer stands. The ring that it is in follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not in use; linked in the free list.
    Free,
    /// In the wheel until its tick. To `Queued` when the tick comes or a flush is asked for.
    Armed,
    /// In the due queue. To `Parked` or free when it is taken.
    Queued(FlushReason),
    /// In no ring: due, but the key's previous generation is still in flight. To `Queued` when
    /// that one is settled.
    Parked(FlushReason),
}

/// All states, by their codes.
pub(super) const STATES: [State; 1 << STATE_BITS] = {
    use FlushReason::{Complete, Deadline, Pressure, Requested, Shutdown, Size, Volume};
    use State::{Armed, Free, Parked, Queued};
    [
        Free,
        Armed,
        Queued(Deadline),
        Queued(Size),
        Queued(Complete),
        Queued(Volume),
        Queued(Requested),
        Queued(Pressure),
        Queued(Shutdown),
        Parked(Deadline),
        Parked(Size),
        Parked(Complete),
        Parked(Volume),
        Parked(Requested),
        Parked(Pressure),
        Parked(Shutdown),
    ]
};

impl State {
    pub(super) fn code(self) -> u32 {
        match self {
            State::Free => 0,
            State::Armed => 1,
            State::Queued(reason) => 2 + rank(reason),
            State::Parked(reason) => 9 + rank(reason),
        }
    }
}

/// Among all reasons; there is room for no more than there are.
fn rank(reason: FlushReason) -> u32 {
    reason.code().into()
}

/// Small, because every key has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Low bits of the tick; the wheel's own time completes them.
    pub(super) tick: u32,
    /// The hash, and in the low bits the state.
    pub(super) mark: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
}

const _: () = assert!(size_of::<Node>() == 16);

impl Node {
    pub(super) fn alone(index: u32) -> Node {
        Node { tick: 0, mark: State::Free.code(), prev: index, next: index }
    }

    pub(super) fn mark(hash: KeptHash, state: State) -> u32 {
        hash.bits() << STATE_BITS | state.code()
    }

    pub(super) fn hash(&self) -> KeptHash {
        KeptHash::from_bits(self.mark >> STATE_BITS)
    }

    pub(super) fn state(&self) -> State {
        STATES[(self.mark % (1 << STATE_BITS)) as usize]
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.mark = Node::mark(self.hash(), state);
    }
}
