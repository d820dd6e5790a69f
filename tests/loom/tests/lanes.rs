//! The protocol of lanes in every order that the memory model allows, under loom.
//!
//! `cell.rs` is compiled into this test, over loom's atomics instead of real ones. Both halves of the fence are ordinary
//! fences here, which is what they stand for.

/// What `cell.rs` finds where the library has its own.
mod driver {
    pub(crate) mod sync {
        pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
        pub(crate) use loom::thread::yield_now;
    }

    pub(crate) mod barrier {
        use loom::sync::atomic::{Ordering, fence};

        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Light;

        impl Light {
            pub(crate) fn pass(self) {
                fence(Ordering::SeqCst);
            }
        }

        pub(crate) fn heavy() {
            fence(Ordering::SeqCst);
        }
    }
}

pub(crate) use write_behind::LANE_WORDS;

#[path = "../../../src/driver/intake/lanes/cell.rs"]
#[allow(dead_code, reason = "only the protocol is looked at")]
mod cell;

use std::sync::Arc;

use cell::{Cell, Turn};
use driver::barrier::{Light, heavy};
use loom::sync::Mutex;
use loom::thread;

/// A lane of one key, and what stands for its partition.
struct Lane {
    turn: Turn,
    cell: Cell,
    /// What was taken: inserts, and what they came to in the first and the last word.
    partition: Mutex<(u64, u64, u64)>,
}

impl Lane {
    fn new() -> Arc<Self> {
        Arc::new(Lane { turn: Turn::new(Light), cell: Cell::new(), partition: Mutex::new((0, 0, 0)) })
    }

    /// The owner adds 1 to the first word and 10 to the last, if it may.
    fn insert(&self) -> bool {
        let Some(entered) = self.turn.enter(&self.cell) else { return false };
        let mut words = [0; LANE_WORDS];
        if entered.read(&mut words) == 0 {
            words = [0; LANE_WORDS];
        }
        (words[0], words[LANE_WORDS - 1]) = (words[0] + 1, words[LANE_WORDS - 1] + 10);
        entered.write(&words);
        true
    }

    /// Takes the lease back, and what was made of it.
    fn take(&self, (count, first, last): &mut (u64, u64, u64)) {
        self.cell.revoke();
        heavy();
        self.turn.wait_for_owner();
        let mut words = [0; LANE_WORDS];
        self.cell.copy(&mut words);
        if self.cell.count() > 0 {
            *count += u64::from(self.cell.count());
            *first += words[0];
            *last += words[LANE_WORDS - 1];
        }
        // So that nothing is taken twice.
        self.cell.remember(0);
    }

    /// As an insert that has found no lease: under the lock.
    fn insert_and_open(&self) {
        let mut taken = self.partition.lock().unwrap();
        if self.cell.is_open().0 {
            self.take(&mut taken);
        }
        (taken.0, taken.1, taken.2) = (taken.0 + 1, taken.1 + 1, taken.2 + 10);
        self.cell.open(2);
    }

    fn settle(&self, inserts: u64) {
        let mut taken = self.partition.lock().unwrap();
        if self.cell.is_open().0 {
            self.take(&mut taken);
        }
        assert_eq!(*taken, (inserts, inserts, 10 * inserts));
    }
}

fn insert(lane: &Lane) {
    if !lane.insert() {
        lane.insert_and_open();
    }
}

#[test]
fn what_the_owner_adds_while_the_lease_is_taken_back_is_taken_or_refused() {
    loom::model(|| {
        let lane = Lane::new();
        lane.cell.open(2);
        let owner = thread::spawn({
            let lane = Arc::clone(&lane);
            move || u64::from(lane.insert()) + u64::from(lane.insert())
        });
        let taken = {
            let mut taken = lane.partition.lock().unwrap();
            lane.take(&mut taken);
            *taken
        };
        let inserts = owner.join().unwrap();
        assert_eq!(taken, (inserts, inserts, 10 * inserts));
    });
}

#[test]
fn an_owner_that_was_refused_goes_on_with_a_lease_of_its_own() {
    loom::model(|| {
        let lane = Lane::new();
        lane.cell.open(1);
        let owner = thread::spawn({
            let lane = Arc::clone(&lane);
            move || (0..2).for_each(|_| insert(&lane))
        });
        {
            let mut taken = lane.partition.lock().unwrap();
            if lane.cell.is_open().0 {
                lane.take(&mut taken);
            }
        }
        owner.join().unwrap();
        lane.settle(2);
    });
}

#[test]
fn whoever_hears_of_an_insert_sees_it() {
    loom::model(|| {
        let lane = Lane::new();
        lane.cell.open(2);
        let told = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let owner = thread::spawn({
            let (lane, told) = (Arc::clone(&lane), Arc::clone(&told));
            move || {
                assert!(lane.insert());
                told.store(true, loom::sync::atomic::Ordering::Release);
            }
        });
        if told.load(loom::sync::atomic::Ordering::Acquire) {
            assert_eq!(lane.cell.count(), 1);
        }
        owner.join().unwrap();
    });
}
