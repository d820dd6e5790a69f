//! A keyed write-behind buffer: accept writes in memory, keep one aggregate per key, hand it to
//! your storage later, once per key and interval instead of once per write.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations)]

mod aggregate;
mod batch;
mod buffer;
mod builder;
mod config;
mod data_buffer;
mod driver;
mod engine;
mod error;
mod failure;
mod observer;
mod stats;
mod summing;
mod undelivered;

pub use aggregate::{Addend, Aggregate, Count, Last, Max, Min, Sum};
pub use batch::{BatchId, Entry, FlushBatch, FlushReason};
pub use buffer::{Buffer, KeyCount, Peek, WeakBuffer};
pub use builder::{Builder, RandomState};
pub use config::Overflow;
pub use data_buffer::{DataBuffer, FailedFlush, Verdict};
#[cfg(feature = "test-util")]
pub use driver::clock::ManualClock;
pub use driver::core::Key;
pub use engine::retry::RetryPolicy;
pub use error::{BuildError, FlushWaitError, InsertError, InsertErrorKind, InsertManyError, ShutdownError};
pub use failure::{FlushError, FlushFailure, KeyFailure, Outcome};
pub use hashbrown::Equivalent;
pub use observer::{FlushEvent, Observer};
pub use stats::Stats;
pub use summing::SummingBuffer;
pub use undelivered::{Undelivered, UndeliveredState};
