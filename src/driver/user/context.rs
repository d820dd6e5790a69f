//! Knows which buffers' callbacks the current thread is inside of, and whose locks it holds, so that a
//! call that would wait for itself can be refused.

use std::cell::{Cell, RefCell};

use crate::driver::sync::thread_local;
use crate::error::{FlushWaitError, InsertErrorKind, ShutdownError};

/// Why a blocking call must not wait where it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoWait {
    /// In a callback of the same buffer: it would wait for itself.
    InCallback,
    /// On a thread that runs async tasks, among them perhaps the one that it would wait for.
    #[cfg(feature = "tokio")]
    InAsyncCode,
}

impl From<NoWait> for FlushWaitError {
    fn from(refusal: NoWait) -> Self {
        match refusal {
            NoWait::InCallback => FlushWaitError::WouldDeadlock,
            #[cfg(feature = "tokio")]
            NoWait::InAsyncCode => FlushWaitError::WouldBlock,
        }
    }
}

impl<K, V> From<NoWait> for ShutdownError<K, V> {
    fn from(refusal: NoWait) -> Self {
        match refusal {
            NoWait::InCallback => ShutdownError::WouldDeadlock,
            #[cfg(feature = "tokio")]
            NoWait::InAsyncCode => ShutdownError::WouldBlock,
        }
    }
}

impl From<NoWait> for InsertErrorKind {
    fn from(refusal: NoWait) -> Self {
        match refusal {
            NoWait::InCallback => InsertErrorKind::Full,
            #[cfg(feature = "tokio")]
            NoWait::InAsyncCode => InsertErrorKind::WouldBlock,
        }
    }
}

/// Why no call at all may be made where it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Barred {
    /// In a process that was forked from the one that runs the buffer.
    Forked,
    /// Under a lock of the same buffer.
    UnderLock,
}

impl From<Barred> for InsertErrorKind {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Forked => InsertErrorKind::Forked,
            Barred::UnderLock => InsertErrorKind::WouldDeadlock,
        }
    }
}

impl From<Barred> for FlushWaitError {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Forked => FlushWaitError::Forked,
            Barred::UnderLock => FlushWaitError::WouldDeadlock,
        }
    }
}

impl<K, V> From<Barred> for ShutdownError<K, V> {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Forked => ShutdownError::Forked,
            Barred::UnderLock => ShutdownError::WouldDeadlock,
        }
    }
}

/// Whether the thread is inside the poll of a tokio task, where nobody must block.
///
/// Tokio has no question for that, but it gives each poll of a task a budget, and none to
/// `spawn_blocking` and `block_in_place`. Only a budget can be used up. What is used up here is given
/// back. Inside `tokio::task::unconstrained` the answer is wrong: false.
#[cfg(feature = "tokio")]
pub(crate) fn in_async_code() -> bool {
    use std::task::{Context, Poll, Waker};
    use tokio::task::coop::poll_proceed;

    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(_gives_back) = poll_proceed(&mut context) else { return true };
    // A budget is a number of eight bits.
    (0..=u8::MAX).any(|_| match poll_proceed(&mut context) {
        Poll::Ready(one) => {
            one.made_progress();
            false
        }
        Poll::Pending => true,
    })
}

thread_local! {
    static CALLBACKS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// The buffer of which the thread holds a partition's lock; 0 if of none.
    static LOCKED: Cell<u64> = const { Cell::new(0) };
    /// Those of which it holds one besides, because code under one buffer's lock has called another.
    static LOCKED_BESIDES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, the thread holds a lock of a buffer.
#[derive(Debug)]
pub(crate) struct Locked {
    /// What it held before; 0 if nothing.
    before: u64,
}

impl Locked {
    #[inline]
    pub(crate) fn by(instance: u64) -> Self {
        let before = LOCKED.with(|locked| locked.replace(instance));
        if before != 0 {
            let _ = LOCKED_BESIDES.try_with(|besides| besides.borrow_mut().push(before));
        }
        Locked { before }
    }
}

impl Drop for Locked {
    #[inline]
    fn drop(&mut self) {
        if self.before != 0 {
            let _ = LOCKED_BESIDES.try_with(|besides| besides.borrow_mut().pop());
        }
        LOCKED.with(|locked| locked.set(self.before));
    }
}

/// Whether the thread holds a lock of that buffer.
#[inline]
pub(crate) fn is_under_lock_of(instance: u64) -> bool {
    let innermost = LOCKED.with(Cell::get);
    innermost == instance
        || innermost != 0
            && LOCKED_BESIDES.try_with(|besides| besides.borrow().contains(&instance)).unwrap_or(false)
}

/// Looks at the callbacks that the thread is inside of. `None` when the thread is at its end and has
/// destroyed them: a handle may live in a thread-local of the user's and be dropped after that.
fn callbacks<T>(look: impl FnOnce(&mut Vec<u64>) -> T) -> Option<T> {
    CALLBACKS.try_with(|callbacks| look(&mut callbacks.borrow_mut())).ok()
}

/// While this lives, the thread is inside a callback of the buffer with that instance number.
#[derive(Debug)]
pub(crate) struct Inside(());

pub(crate) fn enter(instance: u64) -> Inside {
    callbacks(|callbacks| callbacks.push(instance));
    Inside(())
}

pub(crate) fn in_callback_of(instance: u64) -> bool {
    callbacks(|callbacks| callbacks.contains(&instance)).unwrap_or(false)
}

#[cfg(feature = "test-util")]
pub(crate) fn in_any_callback() -> bool {
    callbacks(|callbacks| !callbacks.is_empty()).unwrap_or(false)
}

impl Drop for Inside {
    fn drop(&mut self) {
        callbacks(Vec::pop);
    }
}
