//! The handle that users hold.

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "journal")]
mod durable;
mod end;
mod flush;
mod insert;
mod read;
mod summing;
mod weak;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use crate::aggregate::Aggregate;
use crate::driver::core::Core;
use crate::hasher::RandomState;
use crate::key::Key;

pub use end::{ShutdownGuard, ShutdownReport};
pub use summing::SummingBuffer;
pub use weak::WeakBuffer;

/// A handle to a running buffer: cheap to clone, `Send` and `Sync`, and without the sink's type in
/// its own.
///
/// Start one with [`Buffer::builder`]. `K` is the key, `V` the [`Aggregate`] that is kept per key.
/// Every method may be called from any thread and from inside callbacks of any buffer; those that
/// would then wait for themselves return an error.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, Sum, SummingBuffer};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views: SummingBuffer<String, i64> = Buffer::builder().start(store)?;
/// let handle = views.clone(); // for another thread
/// let other = std::thread::spawn(move || handle.add("/home", 2));
/// views.add("/home", 1)?;
/// other.join().expect("it does not panic")?;
/// assert_eq!(views.total("/home"), Some(3));
/// views.shutdown(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// No call can be made by code that runs under a lock of the same buffer (the drop of an item that an
/// aggregate lets go of, a method of a key or an aggregate), nor in a process that was forked from the one
/// that started the buffer, for there is nobody to flush it. Calls that return an error then return
/// `WouldDeadlock` or `Forked`; the others ([`count`](Self::count), [`peek`](Self::peek),
/// [`stats`](Self::stats) and so on) panic and say so. Dropping a handle in a forked process does nothing.
///
/// # Dropping
///
/// When the last handle is dropped the buffer is shut down: the drop waits for at most
/// [`Builder::drop_timeout`](crate::Builder::drop_timeout) and then reports what is left to
/// [`Observer::undelivered`](crate::Observer::undelivered). It does not wait inside one of the buffer's
/// own callbacks, with an async sink, or (with the feature `tokio`) on a thread that belongs to a
/// runtime: there the buffer drains by itself, within the same time, if the program lasts so long. Call
/// [`shutdown`](Self::shutdown) or await `shutdown_async` to wait for it and to get what is left back. With a journal what
/// is left is in there, for the next start.
pub struct Buffer<K, V, S = RandomState> {
    handle: Arc<Handle<K, V, S>>,
}

/// What is dropped with the last handle.
struct Handle<K, V, S> {
    core: Arc<Core<K, V, S>>,
    /// Kept as a pointer so that the type of the handle needs no bounds.
    last_dropped: fn(&Core<K, V, S>),
}

impl<K, V, S> Drop for Handle<K, V, S> {
    fn drop(&mut self) {
        (self.last_dropped)(&self.core);
    }
}

impl<K, V, S> Clone for Buffer<K, V, S> {
    fn clone(&self) -> Self {
        Buffer { handle: Arc::clone(&self.handle) }
    }
}

impl<K, V, S> fmt::Debug for Buffer<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.handle.core.settings.name;
        f.debug_struct("Buffer").field("name", name).finish_non_exhaustive()
    }
}

impl<K: Key, V: Aggregate, S: BuildHasher> Buffer<K, V, S> {
    /// Makes the handle first and its core from the weak one, so that a sink can hold it.
    pub(crate) fn cyclic(make: impl FnOnce(WeakBuffer<K, V, S>) -> Core<K, V, S>) -> Self {
        let handle = Arc::new_cyclic(|weak| Handle {
            core: Arc::new(make(WeakBuffer::new(Weak::clone(weak)))),
            last_dropped: end::last_dropped::<K, V, S>,
        });
        Buffer { handle }
    }

    pub(crate) fn core(&self) -> &Arc<Core<K, V, S>> {
        &self.handle.core
    }

    /// The core, for calls that have no error to return.
    fn callable(&self) -> &Core<K, V, S> {
        self.core().must_call();
        self.core()
    }

    /// A handle that does not keep the buffer running.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// let weak = views.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakBuffer<K, V, S> {
        WeakBuffer::new(Arc::downgrade(&self.handle))
    }
}
