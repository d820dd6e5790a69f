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
use crate::undelivered::{Undelivered, UndeliveredState};

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
    /// and **counts twice if it was**, unless the doubt is resolved before
    /// ([`replay_resolving`](Self::replay_resolving)).
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
        let in_doubt = letter.may_be_applied().then(|| (letter.batch(), letter.place()));
        let (entry, reason) = ((letter.key(), letter.data(), letter.count()), letter.cause().to_string());
        match self.write([(entry, reason, in_doubt)]) {
            Ok(()) => Verdict::Forget,
            Err(_counted) => Verdict::Keep(letter),
        }
    }

    /// Writes what [`shutdown`](crate::Buffer::shutdown) has handed back to the file, and where it
    /// [may have been applied](Undelivered::may_be_applied) names the batch in the line, as `in_doubt`: for
    /// [`replay_resolving`](Self::replay_resolving), which asks the storage. All or none, in one write. On the disk when it returns. Blocks.
    ///
    /// ```
    /// use write_behind::dead_letters::DeadLetters;
    /// use write_behind::{ShutdownError, Sum};
    ///
    /// fn keep(
    ///     letters: &DeadLetters<String, Sum<i64>>,
    ///     error: ShutdownError<String, Sum<i64>>,
    /// ) -> std::io::Result<()> {
    ///     letters.add_undelivered(&error.into_undelivered().into_iter().collect::<Vec<_>>())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_undelivered(&self, left: &[Undelivered<K, V>]) -> io::Result<()> {
        self.write(left.iter().map(|left| {
            let in_doubt = left.batch().filter(|_| left.may_be_applied()).map(|batch| (batch, left.place()));
            ((left.key(), left.data(), left.count()), why(left.state()), in_doubt)
        }))
    }

    /// Writes what comes from elsewhere to the file. On the disk when it returns. Blocks.
    ///
    /// ```
    /// use write_behind::Sum;
    /// use write_behind::dead_letters::DeadLetters;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("letters");
    /// let letters = DeadLetters::<String, Sum<i64>>::open(path)?;
    /// letters.add(&"/home".to_owned(), &Sum(3), 1, "found in a backup")?;
    /// assert_eq!(letters.written(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the file system, or JSON cannot hold the data. Nothing is in the file then.
    pub fn add(&self, key: &K, data: &V, count: u64, reason: impl Into<String>) -> io::Result<()> {
        self.write([((key, data, count), reason.into(), None)])
    }

    fn write<'a>(&self, letters: impl IntoIterator<Item = New<'a, K, V>>) -> io::Result<()>
    where
        K: 'a,
        V: 'a,
    {
        let mut count = 0;
        let written = self.file.lock().and_then(|file| {
            let mut lines = Vec::new();
            for (entry, reason, in_doubt) in letters {
                let id = self.next_id(&file)?;
                serde_json::to_writer(&mut lines, &Line::new(id, entry, reason, in_doubt))?;
                lines.push(b'\n');
                count += 1;
            }
            file.append(lines)
        });
        let mut state = self.state.lock();
        match written {
            Ok(()) => state.written += count,
            Err(_) => state.failures += count.max(1),
        }
        written
    }
}

/// What is to be written: key, data and count, why, and the batch by which it may have been applied with the place in it.
type New<'a, K, V> = ((&'a K, &'a V, u64), String, Option<(BatchId, usize)>);

fn why(state: &UndeliveredState) -> String {
    match state {
        UndeliveredState::Pending => "no time was left".to_owned(),
        UndeliveredState::InCallback => "it was being written when time was up".to_owned(),
        UndeliveredState::Retrying { cause, .. } | UndeliveredState::GivenUp { cause, .. } => {
            cause.to_string()
        }
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
