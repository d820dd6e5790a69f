use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::marker::PhantomData;
use std::path::Path;

use parking_lot::Mutex;
use serde::Serialize;

use super::file::{LineFile, Locked};
use super::line::Line;
use crate::batch::BatchId;
use crate::dead_letter::{DeadLetter, Verdict};

/// A file of dead letters, a JSON object in each line: `id`, `key`, `data`, `count`, and for people `reason` and `at`
/// (seconds since 1970). Several processes and buffers may share it, if their keys and data are of the same types.
///
/// Beside it are a file with the ending `.lock` and, for moments, one with `.new`. Cost: a lock, a write and an `fsync`
/// for each letter.
pub struct DeadLetters<K, V> {
    pub(super) file: LineFile,
    /// Guards the numbers, under the file's lock.
    pub(super) state: Mutex<State>,
    types: PhantomData<fn(K, V)>,
}

#[derive(Debug)]
pub(super) struct State {
    /// What the ids of letters begin with that are written from here on.
    instance: u64,
    last: u64,
    /// Of the file, when the last id was given out.
    generation: u64,
    written: u64,
    failures: u64,
}

fn random() -> u64 {
    RandomState::new().hash_one("dead letters")
}

impl<K, V> DeadLetters<K, V> {
    /// Opens a file, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// Those of the file system: the folder is missing, or may not be written to.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = LineFile::open(path.as_ref())?;
        let state = State { instance: random(), last: 0, generation: 0, written: 0, failures: 0 };
        Ok(DeadLetters { file, state: Mutex::new(state), types: PhantomData })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// How many letters were written through this, for monitoring.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// How many could not be written, because the disk was full or the data was not what JSON can hold. Those stayed
    /// where they were.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.state.lock().failures
    }
}

impl<K: Serialize, V: Serialize> DeadLetters<K, V> {
    /// Writes a letter to the file: for a `handle_error` of your own. [`Verdict::Forget`] if it is on the disk;
    /// [`Verdict::Keep`] if it could not be written. Blocks.
    ///
    /// Where an attempt [may have been applied](DeadLetter::may_be_applied) the line names the batch, as `in_doubt`,
    /// and **counts twice if it was**.
    ///
    /// ```
    /// use write_behind::dead_letters::DeadLetters;
    /// use write_behind::{DataBuffer, DeadLetter, FlushContext, FlushError, Sum, Verdict};
    ///
    /// struct Totals {
    ///     letters: DeadLetters<String, Sum<i64>>,
    /// }
    ///
    /// impl DataBuffer<String, Sum<i64>> for Totals {
    ///     fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         Err(FlushError::not_applied("closed for today").give_up())
    ///     }
    ///
    ///     fn handle_error(&self, letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
    ///         self.letters.bury(letter)
    ///     }
    /// }
    /// ```
    pub fn bury(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        let in_doubt = letter.may_be_applied().then(|| letter.batch());
        let (entry, reason) = ((letter.key(), letter.data(), letter.count()), letter.cause().to_string());
        match self.write(entry, reason, in_doubt) {
            Ok(()) => Verdict::Forget,
            Err(_counted) => Verdict::Keep(letter),
        }
    }

    /// Writes what came back from elsewhere, such as [`shutdown`](crate::Buffer::shutdown), to the file. On the disk
    /// when it returns. Blocks.
    ///
    /// ```
    /// use write_behind::dead_letters::DeadLetters;
    /// use write_behind::{ShutdownError, Sum};
    ///
    /// fn keep(
    ///     letters: &DeadLetters<String, Sum<i64>>,
    ///     error: ShutdownError<String, Sum<i64>>,
    /// ) -> std::io::Result<()> {
    ///     for left in error.into_undelivered() {
    ///         // Where `may_be_applied`, ask the store whether `batch` is there.
    ///         letters.add(left.key(), left.data(), left.count(), "no time was left")?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the file system, or JSON cannot hold the data. Nothing is in the file then.
    pub fn add(&self, key: &K, data: &V, count: u64, reason: impl Into<String>) -> io::Result<()> {
        self.write((key, data, count), reason.into(), None)
    }

    fn write(&self, entry: (&K, &V, u64), reason: String, in_doubt: Option<BatchId>) -> io::Result<()> {
        let written = self.file.lock().and_then(|file| {
            let id = self.next_id(&file)?;
            file.append(serde_json::to_vec(&Line::new(id, entry, reason, in_doubt))?)
        });
        let mut state = self.state.lock();
        *if written.is_ok() { &mut state.written } else { &mut state.failures } += 1;
        written
    }
}

impl<K, V> DeadLetters<K, V> {
    /// A new id. When lines have left the file, the instance of earlier ones may have retired with them.
    pub(super) fn next_id(&self, file: &Locked<'_>) -> io::Result<BatchId> {
        let generation = file.generation()?;
        let mut state = self.state.lock();
        if generation != state.generation {
            (state.instance, state.generation) = (random(), generation);
        }
        state.last += 1;
        Ok(BatchId { instance: state.instance, sequence: state.last })
    }
}

impl<K, V> fmt::Debug for DeadLetters<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("path", &self.path()).finish_non_exhaustive()
    }
}
