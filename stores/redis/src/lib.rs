//! Sinks for [`write_behind`] over Redis in which every insert counts once: after lost answers, cancelled calls,
//! servers that restart, refused keys and late arrivals alike.
//!
//! Hashes of sums need nothing but their names:
//!
//! ```no_run
//! use std::time::Duration;
//! use write_behind::exactly_once::ExactlyOnce;
//! use write_behind::{Buffer, SummingBuffer};
//! use write_behind_redis::{HashSums, RedisStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://localhost", HashSums::new("page_views")).await?;
//! let views: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(store))?;
//! views.add("/home", 1)?;
//! views.shutdown_async(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - A field for each key, one hash for each value of the aggregate: [`HashSums`].
//! - A script of your own, for any aggregate: [`OwnScript`].
//! - Where the ledger is, and for how long it remembers processes that died: [`Ledger`].
//!
//! A batch and its record are written by one Lua script, which has Redis to itself. That is as durable as Redis is:
//! unless `appendonly yes` and `appendfsync always` are set, a crash loses what it has acknowledged, and a failover to
//! a replica that lags does so in any case. [`RedisStore::doubts`] tells. How a batch counts once is explained in
//! [`write_behind::guide::exactly_once`].

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations)]

mod connection;
mod error;
mod field;
mod hash_sums;
mod ledger;
mod script;
mod store;

pub use error::Error;
pub use field::{Amount, Amounts, Field};
pub use hash_sums::HashSums;
pub use ledger::Ledger;
pub use script::{Arguments, OwnScript, WriteScript};
pub use store::RedisStore;
