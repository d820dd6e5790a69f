//! Items and aggregates that call the buffer where it holds a lock: outside the lock where that can be,
//! and a clear refusal where it cannot.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use write_behind::{Aggregate, Buffer, InsertErrorKind, Last, ManualClock, Max, Min, Sum};

/// Calls what its thread has been told to call when it is dropped.
#[derive(Clone, Debug)]
struct Calling(u32);

type Call = Box<dyn Fn()>;

thread_local! {
    static ON_DROP: RefCell<Option<Call>> = const { RefCell::new(None) };
}

impl Drop for Calling {
    fn drop(&mut self) {
        ON_DROP.with_borrow(|call| {
            if let Some(call) = call {
                call();
            }
        });
    }
}

impl PartialEq for Calling {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Calling {}

impl PartialOrd for Calling {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Calling {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl std::hash::Hash for Calling {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

fn start<V: Aggregate<Item = Calling>>() -> Buffer<u8, V> {
    let store = |_: &u8, _: &V| Ok::<(), String>(());
    Buffer::builder().partitions(1).start_inline(store, &ManualClock::new()).unwrap()
}

fn calls(buffer: &Buffer<u8, impl Aggregate<Item = Calling>>, call: impl Fn() + 'static) {
    let _ = buffer;
    ON_DROP.set(Some(Box::new(call)));
}

/// The second insert of the key never returned.
fn displaced_items_may_call<V: Aggregate<Item = Calling>>() {
    let buffer = start::<V>();
    let (inner, called) = (buffer.downgrade(), Arc::new(std::sync::atomic::AtomicU32::new(0)));
    let counted = Arc::clone(&called);
    calls(&buffer, move || {
        if let Some(buffer) = inner.upgrade() {
            assert!(buffer.contains(&1));
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    for item in [5, 5, 3, 9] {
        buffer.insert(1, Calling(item)).unwrap();
    }
    buffer.insert_many([(1, Calling(9)), (1, Calling(3))]).unwrap();
    assert!(called.load(std::sync::atomic::Ordering::Relaxed) >= 3, "{}", std::any::type_name::<V>());
    ON_DROP.set(None);
}

#[test]
fn the_drop_of_a_displaced_item_may_call_the_buffer() {
    displaced_items_may_call::<Last<Calling>>();
    displaced_items_may_call::<Min<Calling>>();
    displaced_items_may_call::<Max<Calling>>();
    displaced_items_may_call::<HashSet<Calling>>();
    displaced_items_may_call::<BTreeSet<Calling>>();
}

/// Lets go of items while it absorbs others, and does not hand them out.
#[derive(Debug)]
struct Careless(Calling);

impl Aggregate for Careless {
    type Item = Calling;

    fn start(item: Calling) -> Self {
        Careless(item)
    }

    fn absorb(&mut self, item: Calling) {
        self.0 = item;
    }

    fn merge(&mut self, later: Self) {
        self.0 = later.0.clone();
    }
}

#[test]
fn a_call_under_the_lock_is_refused_and_not_a_deadlock() {
    let buffer = start::<Careless>();
    buffer.insert(1, Calling(1)).unwrap();
    let inner = buffer.downgrade();
    calls(&buffer, move || {
        let error = inner.upgrade().unwrap().insert(2, Calling(0)).unwrap_err();
        assert_eq!(error.kind, InsertErrorKind::WouldDeadlock);
        // What was refused is dropped here, and would call again.
        std::mem::forget(error);
    });
    buffer.insert(1, Calling(2)).expect("only the call was refused");
    ON_DROP.set(None);
    assert_eq!(buffer.count(&1).total(), 2);
    assert!(!buffer.contains(&2));
}

#[test]
fn a_call_without_an_error_to_return_panics_and_says_why() {
    let buffer = start::<Careless>();
    buffer.insert(1, Calling(1)).unwrap();
    let inner = buffer.downgrade();
    calls(&buffer, move || assert!(inner.upgrade().unwrap().contains(&1)));
    let panic = catch_unwind(AssertUnwindSafe(|| buffer.insert(1, Calling(2)))).unwrap_err();
    ON_DROP.set(None);
    let words = panic.downcast_ref::<String>().expect("a message");
    assert!(words.contains("runs under a lock of it"), "{words}");
    buffer.insert(1, Calling(3)).expect("the buffer goes on");
    buffer.flush_and_wait(&1, std::time::Duration::from_secs(60)).expect("it is flushed");
}

/// Only the same buffer is out of reach.
#[test]
fn a_call_under_the_lock_of_one_buffer_may_reach_another() {
    let (buffer, other) = (start::<Careless>(), start::<Last<Calling>>());
    let store = |_: &u8, _: &Sum<i64>| Ok::<(), String>(());
    let drops = Buffer::builder().start_inline(store, &ManualClock::new()).unwrap();
    buffer.insert(1, Calling(1)).unwrap();
    let (counted, back) = (drops.clone(), buffer.downgrade());
    calls(&buffer, move || {
        counted.add(&1, 1).unwrap();
        assert!(!other.contains(&9));
        let error = back.upgrade().unwrap().insert(1, Calling(0)).unwrap_err();
        assert_eq!(error.kind, InsertErrorKind::WouldDeadlock);
        std::mem::forget(error);
    });
    buffer.insert(1, Calling(2)).unwrap();
    ON_DROP.set(None);
    assert_eq!(drops.total(&1), Some(1));
}
