//! Sinks for [`write_behind`] over SQLite in which every insert counts once: after lost answers, retries, refused
//! keys and late arrivals alike.
//!
//! A table of sums needs nothing but the names of its table and its columns:
//!
//! ```
//! use std::time::Duration;
//! use write_behind::exactly_once::ExactlyOnce;
//! use write_behind::{Buffer, SummingBuffer};
//! use write_behind_sqlite::{SqliteStore, Sums};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("views.db");
//! let sums = Sums::new("page_views").key("page").value("views");
//! let store = SqliteStore::open(&path, sums)?;
//! let views: SummingBuffer<String, i64> = Buffer::builder().start(ExactlyOnce::new(store))?;
//! views.add("/home", 1)?;
//! views.add("/home", 1)?;
//! views.shutdown(Duration::from_secs(10))?;
//!
//! let file = rusqlite::Connection::open(&path)?;
//! let total: i64 = file.query_row("select views from page_views where page = '/home'", [], |row| row.get(0))?;
//! assert_eq!(total, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Several key columns and several value columns, of any aggregate of numbers: [`Sums`].
//! - SQL of your own, for any aggregate: a closure, or [`WriteBatch`].
//! - A connection that others use too: [`SqliteStore::on`].
//! - Where the ledger is, and for how long it remembers processes that died: [`Ledger`].
//!
//! How a batch counts once is explained in [`write_behind::guide::exactly_once`].

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations)]

mod columns;
mod error;
mod ledger;
mod name;
mod store;
mod sums;
mod write;

pub use columns::{Column, Columns, Merge, Value, Values};
pub use error::Error;
pub use ledger::Ledger;
pub use store::SqliteStore;
pub use sums::Sums;
pub use write::WriteBatch;
