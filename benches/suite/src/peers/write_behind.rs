//! This crate, with a sink that does nothing.

use std::time::Duration;

use write_behind::{Aggregate, BatchDataBuffer, Buffer, Builder, FlushBatch, FlushError};

use super::{Inserter, Kept, Peer};
use crate::keys::Key;

pub(crate) struct Nowhere;

impl<K: Key, A: Aggregate> BatchDataBuffer<K, A> for Nowhere {
    fn handle_flush_batch(&self, _batch: &FlushBatch<K, A>) -> Result<(), FlushError> {
        Ok(())
    }
}

/// With bounds that nothing here reaches.
pub(crate) fn builder<K: Key, A: Aggregate>() -> Builder<K, A> {
    // Nothing is due while it is measured.
    let builder = Buffer::builder().interval(Duration::from_secs(24 * 60 * 60));
    builder.max_keys(40_000_000).max_weight(1_000_000_000)
}

pub(crate) struct WriteBehind<K, V: Kept>(pub(crate) Buffer<K, V::Aggregate>);

impl<K: Key, V: Kept> WriteBehind<K, V> {
    pub(crate) fn new() -> Self {
        WriteBehind::with(|builder| builder)
    }

    /// With other settings.
    pub(crate) fn with(settings: impl FnOnce(Builder<K, V::Aggregate>) -> Builder<K, V::Aggregate>) -> Self {
        WriteBehind(settings(builder()).start(Nowhere).expect("the settings are valid"))
    }

    #[inline(never)]
    fn add(&self, key: &K::Borrowed, item: V::Item) {
        self.0.insert_ref(key, item).expect("there is room");
    }
}

impl<K: Key, V: Kept> Peer<K, V> for WriteBehind<K, V> {
    fn name(&self) -> &'static str {
        "write-behind"
    }

    fn inserter(&self, _thread: usize) -> Inserter<'_, K, V> {
        Box::new(|key, item| self.add(key, item))
    }

    fn empty(&self) {
        self.0.flush_all_and_wait(Duration::from_secs(600)).expect("nothing stops the sink");
    }
}
