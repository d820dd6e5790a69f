//! Knows which buffers' callbacks the current thread is inside of, so that a call that would wait
//! for itself can be refused.

use std::cell::RefCell;

use super::sync::thread_local;

thread_local! {
    static CALLBACKS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, the thread is inside a callback of the buffer with that instance number.
#[derive(Debug)]
pub(crate) struct Inside(());

pub(crate) fn enter(instance: u64) -> Inside {
    CALLBACKS.with(|callbacks| callbacks.borrow_mut().push(instance));
    Inside(())
}

pub(crate) fn in_callback_of(instance: u64) -> bool {
    CALLBACKS.with(|callbacks| callbacks.borrow().contains(&instance))
}

#[cfg(feature = "test-util")]
pub(crate) fn in_any_callback() -> bool {
    CALLBACKS.with(|callbacks| !callbacks.borrow().is_empty())
}

impl Drop for Inside {
    fn drop(&mut self) {
        CALLBACKS.with(|callbacks| callbacks.borrow_mut().pop());
    }
}
