//! The journal: what was accepted survives a crash, and still counts exactly once. Feature `journal`, which needs Rust 1.90.
//!
//! > An insert acknowledged as durable changes the database exactly once, whatever instant the process dies at and however unclear the answer of any flush was. An insert accepted without waiting is lost only if the process dies within the declared window.
//!
//! Give [`Builder::journal`](crate::Builder::journal) a [`Journal`]. What is accepted is then also in a file: plain inserts a
//! [window](Journal::window) later, 50 ms by default, and those of
//! [`insert_durable`](crate::Buffer::insert_durable) and [`add_durable`](crate::Buffer::add_durable), and all that precede a
//! [`sync`](crate::Buffer::sync), when the call returns. The next start with the file goes on where the process before it
//! stopped. The sink has to [count each batch once](crate::exactly_once); one that records no ids counts what was in flight at a
//! crash, or was flushed in the last window, twice.
//!
//! - **State, not a log.** What changed is written as it is, a row for each key, however often it was hit.
//! - **Frozen before it is sent.** Content and id of a batch are on disk before its first attempt, and are the same at every
//!   attempt, after a crash too.
//! - **One identity.** The journal has the instance and the next sequence of its batches, and an epoch that each start raises.
//! - **Memory is the truth.** A file that has failed is never written again; a fresh one takes its place
//!   ([`OnDiskFailure`]).
//!
//! What each mode loses and when, how it works, what it costs, why it is no log, and how to run it in Kubernetes:
//! [`guide::journal`](crate::guide::journal). Keys and data are written by a [`Codec`], by default [`Postcard`].
//!
#![cfg_attr(feature = "journal", doc = "```")]
#![cfg_attr(not(feature = "journal"), doc = "```ignore")]
//! use std::time::Duration;
//! use write_behind::journal::Journal;
//! use write_behind::{Buffer, Sum};
//! # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("views.journal");
//!
//! let views = Buffer::builder().journal(Journal::at(path)).start(store)?;
//! views.add("/home", 1)?;
//! views.add_durable("/home", 1)?; // from here on a crash loses neither
//! let report = views.shutdown(Duration::from_secs(10))?;
//! println!("{} inserts are left for the next start", report.journaled);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod error;
#[cfg(feature = "journal")]
pub(crate) mod file;
#[cfg(feature = "journal")]
mod postcard;
mod settings;

pub use codec::{Codec, CodecError};
pub use error::{DurableError, JournalError, SyncError};
#[cfg(all(feature = "journal", feature = "test-util"))]
pub use file::simulated::{Fault, SimulatedDisk};
#[cfg(feature = "journal")]
pub use postcard::Postcard;
pub use settings::{Journal, OnDiskFailure, Recovered};
