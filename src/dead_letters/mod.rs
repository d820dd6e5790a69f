//! Dead letters on disk: what was given up goes to a file of JSON lines, and from there to the storage at the next
//! start, each once. For any sink, keys and aggregates that `serde` knows. Feature `dead-letters`.
//!
//! [`Burying`] is a sink around another one: what that one would keep as undelivered is written to a file of
//! [`DeadLetters`], and is on the disk before the buffer forgets it. [`DeadLetters::replay`] hands the file's letters to
//! a sink and removes those that were taken.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use write_behind::dead_letters::{Burying, DeadLetters};
//! use write_behind::{BatchDataBuffer, Buffer, FlushBatch, FlushError, Sum};
//!
//! struct Totals; // an `ExactlyOnce` over a store of yours
//!
//! impl BatchDataBuffer<String, Sum<i64>> for Totals {
//!     fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
//!         let refused = batch.entries().iter().filter(|entry| entry.key().is_empty());
//!         FlushError::entries(refused.map(|entry| {
//!             entry.failed(FlushError::never_applied("pages have names").give_up())
//!         }))
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("dead-letters.jsonl");
//! let letters = Arc::new(DeadLetters::open(&path)?);
//! let sink = Arc::new(Burying::new(Totals, Arc::clone(&letters)));
//!
//! // What earlier runs have left.
//! let replayed = letters.replay(Arc::clone(&sink))?;
//! println!("{} applied, {} still in the file", replayed.applied, replayed.left);
//!
//! let views = Buffer::builder().start(sink)?;
//! views.add("/home", 1)?;
//! views.add("", 1)?;
//! views.shutdown(Duration::from_secs(10))?;
//! let line = std::fs::read_to_string(&path)?;
//! assert!(line.contains(r#""key":"","data":1,"count":1,"reason":"pages have names""#), "{line}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Each once
//!
//! A letter has a batch id of its own, under which it is sent as a batch of one entry. If the process dies when the
//! letter is applied and before it is out of the file, it is sent again under the same id: a sink that
//! [counts each batch once](crate::exactly_once) counts it once, and any other may count it twice. A letter that the
//! storage refuses stays in the file, under a new id.
//!
//! With a journal (feature `journal`) a letter can get into the file twice: if the process dies when it is written and
//! before the journal knows, the next one hands it over again, and writes a second line. **Both are replayed.** Their `key`,
//! `data` and `reason` are the same.
//!
//! What may have been applied although nobody heard of it is not written to the file but kept by the buffer, unless
//! [`Burying::also_in_doubt`] is set. [`ExactlyOnce`](crate::exactly_once::ExactlyOnce) leaves no doubt about what it
//! gives up, unless its store is out of reach.
//!
//! # What shutdown hands back
//!
//! At its deadline [`shutdown`](crate::Buffer::shutdown) returns what it could not deliver. To write that to the file,
//! too, [`add`](DeadLetters::add_undelivered) it. Where it [is in doubt](crate::Undelivered::may_be_applied) the line names
//! the batch, and [`replay_resolving`](DeadLetters::replay_resolving) asks the store what became of that.

mod burying;
mod file;
mod letters;
mod line;
mod replay;

pub use burying::Burying;
pub use letters::DeadLetters;
pub use replay::Replayed;
