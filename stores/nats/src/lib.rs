//! A sink for [`write_behind`] over NATS JetStream in which every insert counts once: batches are published to a stream,
//! and moved to another store from there.
//!
//! A flush needs NATS alone. The store behind it, such as Postgres, may be away for as long as the stream has room.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use write_behind::exactly_once::{AsyncStore, ExactlyOnce};
//! use write_behind::{Buffer, Sum, SummingBuffer};
//! use write_behind_nats::{BatchStream, NatsStore};
//!
//! # async fn run<S: AsyncStore<String, Sum<i64>> + 'static>(totals: S) -> Result<(), Box<dyn std::error::Error>> {
//! // `totals`: a store of write-behind-postgres, or any other whose ledger makes a batch count once.
//! let store = Arc::new(NatsStore::connect("nats://localhost", BatchStream::new("views"), totals).await?);
//! let views: SummingBuffer<String, i64> = Buffer::builder().start_async(ExactlyOnce::new(Arc::clone(&store)))?;
//!
//! // In this process, in others, or in all of them:
//! tokio::spawn(async move {
//!     loop {
//!         match store.move_some().await {
//!             Ok(0) => tokio::time::sleep(Duration::from_millis(250)).await,
//!             Ok(_) => {}
//!             Err(error) => {
//!                 eprintln!("will try again: {error}");
//!                 tokio::time::sleep(Duration::from_secs(1)).await;
//!             }
//!         }
//!     }
//! });
//!
//! views.add("/home", 1)?;
//! views.shutdown_async(Duration::from_secs(10)).await?; // moves what this process has published
//! # Ok(())
//! # }
//! ```
//!
//! # What makes a batch count once
//!
//! A batch is one message, whose id is that of the batch. A stream leaves out a message whose id it has seen within its
//! [duplicate window](BatchStream::duplicate_window). **That alone is not exactly once**: a copy that comes later, because
//! NATS was away for longer than that, is a second message; and a message is delivered again when its acknowledgement was
//! lost. So the window saves work, and what makes a batch count once is the ledger of the store behind, which records the
//! batch's id in the transaction that applies it, whenever and however often it comes. Whoever reads the stream with a
//! consumer of their own has to do the same.
//!
//! # As durable as NATS is
//!
//! A batch that NATS has acknowledged is settled for the buffer, and forgotten. NATS writes to its file at once and syncs
//! it every two minutes, unless `sync_interval: always` is set or the stream is replicated: a power failure can lose what
//! was acknowledged. A server that is killed loses nothing.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations)]

mod batch_stream;
mod connection;
mod error;
mod store;

pub use batch_stream::BatchStream;
pub use error::Error;
pub use store::{LeftOut, NatsStore};
