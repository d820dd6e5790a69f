//! What is put to the test: a sink that can be made anew, and its storage.

use crate::driver::user::sink::Sink;
use crate::into_sink::Erased;

pub(super) trait Subject<K, V> {
    /// A fresh sink over the same storage.
    fn make(&mut self) -> Box<dyn Sink<K, V>>;
    /// The totals that are in the storage.
    async fn read(&mut self) -> Vec<(K, i64)>;
    /// Whether its callbacks can be dropped half-way.
    fn can_cancel(&self) -> bool;
}

/// A subject made of what the user gave.
pub(super) struct Given<M, R> {
    pub(super) make: M,
    pub(super) read: R,
    pub(super) can_cancel: bool,
}

impl<K, V, M, R> Subject<K, V> for Given<M, R>
where
    M: FnMut() -> Erased<K, V>,
    R: AsyncFnMut() -> Vec<(K, i64)>,
{
    fn make(&mut self) -> Box<dyn Sink<K, V>> {
        (self.make)().0
    }

    async fn read(&mut self) -> Vec<(K, i64)> {
        (self.read)().await
    }

    fn can_cancel(&self) -> bool {
        self.can_cancel
    }
}
