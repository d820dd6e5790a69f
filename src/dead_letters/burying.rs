use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::letters::DeadLetters;
#[cfg(feature = "tokio")]
use crate::async_data_buffer::{AsyncBatchDataBuffer, AsyncDataBuffer};
use crate::batch::{FlushBatch, FlushContext};
use crate::data_buffer::{BatchDataBuffer, DataBuffer};
use crate::dead_letter::{DeadLetter, Retirement, Verdict};
use crate::failure::FlushError;

/// A sink around another one of any kind: what that one would [keep](Verdict::Keep) as undelivered is written to a file.
/// What cannot be written is kept after all.
///
/// Writing blocks for an `fsync`, on a runtime's thread too if the sink is async: so there is no moment at which the call
/// could be cancelled with the letter in the file and in the buffer.
///
/// An example is in the documentation of the [module](super).
pub struct Burying<D, K, V> {
    sink: D,
    letters: Arc<DeadLetters<K, V>>,
    in_doubt: bool,
}

impl<D, K: Serialize, V: Serialize> Burying<D, K, V> {
    /// Writes what `sink` gives up to `letters`.
    #[must_use]
    pub fn new(sink: D, letters: Arc<DeadLetters<K, V>>) -> Self {
        Burying { sink, letters, in_doubt: false }
    }

    /// **Counts twice what was applied after all.** Buries also letters that [may have been
    /// applied](DeadLetter::may_be_applied). Default: those are kept by the buffer.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use write_behind::Sum;
    /// use write_behind::dead_letters::{Burying, DeadLetters};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("letters");
    /// # let sink = ();
    /// let letters = Arc::new(DeadLetters::<String, Sum<i64>>::open(path)?);
    /// let sink = Burying::new(sink, letters).also_in_doubt();
    /// # let _ = sink;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn also_in_doubt(mut self) -> Self {
        self.in_doubt = true;
        self
    }

    /// The sink within.
    #[must_use]
    pub fn sink(&self) -> &D {
        &self.sink
    }

    fn judge(&self, verdict: Verdict<K, V>) -> Verdict<K, V> {
        match verdict {
            Verdict::Keep(letter) if self.in_doubt || !letter.may_be_applied() => self.letters.bury(letter),
            other => other,
        }
    }
}

macro_rules! blocking {
    ($trait:ident, fn $flush:ident($($name:ident: $type:ty),+)) => {
        impl<D, K, V> $trait<K, V> for Burying<D, K, V>
        where
            D: $trait<K, V>,
            K: Serialize + 'static,
            V: Serialize + 'static,
        {
            fn $flush(&self, $($name: $type),+) -> Result<(), FlushError> {
                self.sink.$flush($($name),+)
            }

            fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
                self.judge(self.sink.handle_error(letter))
            }

            fn handle_shed(&self, key: K, data: V) {
                self.sink.handle_shed(key, data);
            }

            fn handle_retired(&self, retirement: &Retirement) {
                self.sink.handle_retired(retirement);
            }
        }
    };
}

blocking!(DataBuffer, fn handle_flush(key: &K, data: &V, context: &FlushContext));
blocking!(BatchDataBuffer, fn handle_flush_batch(batch: &FlushBatch<K, V>));

#[cfg(feature = "tokio")]
macro_rules! asynchronous {
    ($trait:ident, fn $flush:ident($($name:ident: $type:ty),+)) => {
        impl<D, K, V> $trait<K, V> for Burying<D, K, V>
        where
            D: $trait<K, V>,
            K: Serialize + Send + Sync + 'static,
            V: Serialize + Send + Sync + 'static,
        {
            async fn $flush(&self, $($name: $type),+) -> Result<(), FlushError> {
                self.sink.$flush($($name),+).await
            }

            async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
                self.judge(self.sink.handle_error(letter).await)
            }

            fn handle_shed(&self, key: K, data: V) {
                self.sink.handle_shed(key, data);
            }

            async fn handle_retired(&self, retirement: &Retirement) {
                self.sink.handle_retired(retirement).await;
            }
        }
    };
}

#[cfg(feature = "tokio")]
asynchronous!(AsyncDataBuffer, fn handle_flush(key: &K, data: &V, context: &FlushContext));
#[cfg(feature = "tokio")]
asynchronous!(AsyncBatchDataBuffer, fn handle_flush_batch(batch: &FlushBatch<K, V>));

impl<D: fmt::Debug, K, V> fmt::Debug for Burying<D, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burying")
            .field("sink", &self.sink)
            .field("letters", &self.letters)
            .finish_non_exhaustive()
    }
}
