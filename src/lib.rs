//! A keyed write-behind buffer: accept writes in memory, keep one aggregate per key, hand it to
//! your storage later, once per key and interval instead of once per write.
//!
//! Implement [`DataBuffer`] for the place where data goes (or, with the feature `tokio`, the async
//! `AsyncDataBuffer`: [which of the two](guide::blocking_or_async)), start a [`Buffer`] with
//! [`Buffer::builder`], and insert. The rest of this page is the README: what it is for, a
//! quickstart, and what exactly is lost, delayed or repeated, and when.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, missing_debug_implementations)]

mod aggregate;
mod as_text;
#[cfg(feature = "tokio")]
mod async_data_buffer;
mod batch;
mod buffer;
mod builder;
#[cfg(feature = "test-util")]
mod by_hand;
#[cfg(feature = "test-util")]
pub mod conformance;
mod data_buffer;
mod dead_letter;
#[cfg(feature = "dead-letters")]
pub mod dead_letters;
mod driver;
mod engine;
mod error;
pub mod exactly_once;
mod failure;
pub mod guide;
mod hasher;
mod health;
mod interval;
mod into_sink;
#[cfg(feature = "journal")]
pub mod journal;
#[cfg(not(feature = "journal"))]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the driver knows of journals, but only the feature makes them"
)]
mod journal;
mod key;
mod observer;
mod peek;
mod settings;
mod stats;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod telemetry;
mod undelivered;
mod writer;

pub use aggregate::{Addend, Aggregate, Count, Increment, LANE_WORDS, Last, Max, Min, Sum};
pub use as_text::ParseBatchIdError;
#[cfg(feature = "tokio")]
pub use async_data_buffer::{AsyncBatchDataBuffer, AsyncDataBuffer};
pub use batch::{BatchId, Entry, FlushBatch, FlushContext, FlushReason};
pub use buffer::{Buffer, ShutdownGuard, ShutdownReport, SummingBuffer, WeakBuffer};
pub use builder::Builder;
#[cfg(feature = "test-util")]
pub use by_hand::{BatchBuilder, LetterBuilder};
pub use data_buffer::{BatchDataBuffer, DataBuffer};
pub use dead_letter::{DeadLetter, Retirement, Verdict};
#[cfg(feature = "test-util")]
pub use driver::clock::ManualClock;
pub use engine::retry::RetryPolicy;
pub use equivalent::Equivalent;
pub use error::{BuildError, FlushWaitError, InsertError, InsertErrorKind, InsertManyError, ShutdownError};
pub use failure::{FailedEntry, FailureCause, FlushError};
pub use hasher::{DefaultHasher, RandomState};
pub use health::Health;
pub use interval::IntervalPolicy;
#[cfg(feature = "tokio")]
pub use into_sink::IntoAsyncSink;
pub use into_sink::{IntoSink, OfBatches, OfClosure, OfKeys};
pub use key::{Key, Parts, ToKey};
pub use observer::{FlushEvent, Observer};
pub use peek::{KeyCount, Peek};
pub use settings::{Bounds, CountStep, Flushing, Overflow, Schedule, Settings};
pub use stats::Stats;
#[cfg(feature = "metrics")]
pub use telemetry::MetricsObserver;
#[cfg(feature = "tracing")]
pub use telemetry::TracingObserver;
pub use undelivered::{Leftovers, LeftoversIter, Undelivered, UndeliveredState};
pub use writer::Writer;
