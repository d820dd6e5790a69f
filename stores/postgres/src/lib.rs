//! Sinks for [`write_behind`] over Postgres in which every insert counts once: after lost answers, cancelled calls,
//! servers that restart, refused keys and late arrivals alike.
//!
//! A table of sums needs nothing but the names of its table and its columns:
//!
//! ```no_run
//! use std::time::Duration;
//! use write_behind::exactly_once::ExactlyOnce;
//! use write_behind::{Buffer, SummingBuffer};
//! use write_behind_postgres::{PostgresStore, Sums};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sums = Sums::new("page_views").key("page").value("views");
//! let store = PostgresStore::connect("postgres://localhost/shop".parse()?, sums).await?;
//! let views: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store))?;
//! views.add("/home", 1)?;
//! views.shutdown_async(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - Several key columns and several value columns, of any aggregate of numbers: [`Sums`].
//! - Sums that many processes add to without waiting for each other: [`LoggedSums`].
//! - SQL of your own, for any aggregate: [`WriteBatch`], or a closure in [`own_sql`].
//! - A pool of connections that others use too: [`PostgresStore::on`].
//! - Where the ledger is, and for how long it remembers processes that died: [`Ledger`].
//!
//! How a batch counts once is explained in [`write_behind::guide::exactly_once`].

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations)]

mod columns;
mod connections;
mod error;
mod ledger;
mod logged_sums;
mod name;
mod own_sql;
mod store;
mod sums;
mod tls;
mod write;

pub use columns::{Array, Column, Columns, Merge, Value, ValueColumn, Values, array};
pub use error::Error;
pub use ledger::Ledger;
pub use logged_sums::LoggedSums;
pub use own_sql::{OwnSql, own_sql};
pub use store::PostgresStore;
pub use sums::Sums;
#[doc(hidden)]
pub use write::InOneStatement;
pub use write::WriteBatch;
