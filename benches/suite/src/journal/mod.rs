//! What a journal costs and what it gives, beside what one would do instead. Files are in a folder beside this
//! program, for what is temporary is often in memory only.

mod bytes;
mod durable;
mod flush;
mod folder;
mod insert;
mod log;
mod postgres;
mod recovery;
mod sqlite;

pub(crate) use self::bytes::run as bytes;
pub(crate) use self::durable::run as durable;
pub(crate) use self::flush::run as flush;
pub(crate) use self::insert::run as insert;
pub(crate) use self::recovery::run as recovery;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use write_behind::journal::Journal;
use write_behind::{Builder, Sum, SummingBuffer};

use crate::peers::{Nowhere, builder};
use crate::scale::Scale;

/// The default's: for topics that are not about the window.
const WINDOW: Duration = Duration::from_millis(50);

const FILE: &str = "journal";

/// How long a commit may take here before that is an error.
const PATIENCE: Duration = Duration::from_secs(600);

/// A turn takes seconds.
fn few_turns(scale: Scale) -> Scale {
    Scale { turns: scale.turns.min(5), ..scale }
}

fn journal(path: &Path, window: Duration) -> Journal<u64, Sum<i64>> {
    Journal::at(path).window(window).patience(PATIENCE)
}

/// A buffer whose sink does nothing, and perhaps its journal. What it holds in the end is not flushed.
struct Subject {
    buffer: SummingBuffer<u64, i64>,
    /// Gone after the buffer, which writes to it until then.
    folder: Option<TempDir>,
}

impl Subject {
    fn plain(settings: impl FnOnce(Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>>) -> Self {
        let builder = settings(builder()).drop_timeout(Duration::ZERO);
        Subject { buffer: builder.start(Nowhere).expect("the settings are valid"), folder: None }
    }

    fn journaled(
        scale: Scale,
        window: Duration,
        settings: impl FnOnce(Builder<u64, Sum<i64>>) -> Builder<u64, Sum<i64>>,
    ) -> io::Result<Self> {
        let folder = folder::make(scale)?;
        let journal = journal(&folder.path().join(FILE), window);
        let buffer = settings(builder()).drop_timeout(Duration::ZERO).journal(journal).start(Nowhere);
        Ok(Subject { buffer: buffer.map_err(io::Error::other)?, folder: Some(folder) })
    }

    /// Every key once.
    fn fill(&self, keys: usize) {
        (0..keys as u64).for_each(|key| self.buffer.add(&key, 1).expect("there is room"));
    }

    /// Waits until all is on disk, if there is a journal.
    fn settle(&self) -> io::Result<()> {
        if self.folder.is_some() { self.buffer.sync().map_err(io::Error::other) } else { Ok(()) }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // What is left stays in a journal that is thrown away, or is lost.
        let _ = self.buffer.shutdown(Duration::ZERO);
        if let Some(folder) = &self.folder {
            // If it cannot be told, the next turn may be measured too high.
            let _ = await_end(&folder.path().join(FILE));
        }
    }
}

/// Waits until a buffer that has been shut down has let its journal go.
fn await_end(journal: &Path) -> io::Result<()> {
    let lock = File::open(journal.with_extension("lock"))?;
    lock.lock()?;
    lock.unlock()
}
