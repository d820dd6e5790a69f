use std::sync::Arc;

use crate::batch::{BatchId, Content, Entry};
use crate::failure::FlushFailure;

/// A key and data that the buffer could not deliver, handed back by
/// [`Buffer::shutdown`](crate::Buffer::shutdown).
#[derive(Debug)]
pub struct Undelivered<K, V> {
    held: Held<K, V>,
    batch: Option<BatchId>,
    state: UndeliveredState,
}

#[derive(Debug)]
enum Held<K, V> {
    Own(Entry<K, V>),
    Shared(Arc<Content<K, V>>, usize),
}

/// How far undelivered data had got.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum UndeliveredState {
    /// No attempt was made.
    Pending,
    /// It was waiting for its next attempt. The outcome of the attempts made may be unknown.
    Retrying {
        /// Attempts made.
        attempts: u32,
        /// How the last one failed.
        failure: FlushFailure,
    },
    /// A callback was still working on it when the deadline came, or when its runtime ended. It may
    /// yet be applied, or have been; an async callback has been cancelled.
    InCallback,
    /// `handle_error` panicked on it, or asked to requeue it during shutdown.
    Unhandled {
        /// Attempts made.
        attempts: u32,
        /// How the last one failed.
        failure: FlushFailure,
    },
}

impl<K, V> Undelivered<K, V> {
    pub(crate) fn own(entry: Entry<K, V>, batch: Option<BatchId>, state: UndeliveredState) -> Self {
        Undelivered { held: Held::Own(entry), batch, state }
    }

    pub(crate) fn shared(content: Arc<Content<K, V>>, index: usize) -> Self {
        let batch = Some(content.id);
        Undelivered { held: Held::Shared(content, index), batch, state: UndeliveredState::InCallback }
    }

    pub(crate) fn entry(&self) -> &Entry<K, V> {
        match &self.held {
            Held::Own(entry) => entry,
            Held::Shared(content, index) => &content.entries[*index],
        }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.entry().key
    }

    /// The data.
    pub fn data(&self) -> &V {
        &self.entry().data
    }

    /// How many inserts the data holds.
    pub fn count(&self) -> u64 {
        self.entry().count
    }

    /// The id of the batch that it was last put into; `None` if it never left the table. Where the
    /// outcome of an attempt is unknown this is what tells whether it was applied after all, unless
    /// the sink named this key alone as failed: then it is the id that the next attempt would have had.
    pub fn batch(&self) -> Option<BatchId> {
        self.batch
    }

    /// How far it had got.
    pub fn state(&self) -> &UndeliveredState {
        &self.state
    }

    /// Takes key and data out.
    ///
    /// # Errors
    ///
    /// Gives `self` back while a callback may still be reading the data
    /// ([`UndeliveredState::InCallback`]); [`key`](Self::key) and [`data`](Self::data) work always.
    pub fn into_parts(self) -> Result<(K, V), Self> {
        match self.held {
            Held::Own(entry) => Ok((entry.key, entry.data)),
            held @ Held::Shared(..) => Err(Undelivered { held, ..self }),
        }
    }
}
