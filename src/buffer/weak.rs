use std::fmt;
use std::sync::Weak;

use super::{Buffer, Handle};
use crate::hasher::RandomState;

/// A handle that does not keep the buffer running: what a sink holds to reach its own buffer.
///
/// Get one from [`Buffer::downgrade`], or before the buffer exists from
/// [`Builder::start_cyclic`](crate::Builder::start_cyclic).
///
/// ```
/// use write_behind::{Buffer, Sum};
/// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
///
/// let views = Buffer::builder().start(store)?;
/// let weak = views.downgrade();
/// weak.upgrade().expect("a handle is there").add("/home", 1)?;
/// drop(views); // the last handle: flushes
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WeakBuffer<K, V, S = RandomState> {
    handle: Weak<Handle<K, V, S>>,
}

impl<K, V, S> WeakBuffer<K, V, S> {
    pub(super) fn new(handle: Weak<Handle<K, V, S>>) -> Self {
        WeakBuffer { handle }
    }

    /// The buffer, unless its last handle has been dropped or it is not yet started.
    /// [`WeakBuffer`] has an example.
    #[must_use]
    pub fn upgrade(&self) -> Option<Buffer<K, V, S>> {
        self.handle.upgrade().map(|handle| Buffer { handle })
    }
}

impl<K, V, S> Clone for WeakBuffer<K, V, S> {
    fn clone(&self) -> Self {
        WeakBuffer { handle: Weak::clone(&self.handle) }
    }
}

impl<K, V, S> fmt::Debug for WeakBuffer<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakBuffer")
    }
}
