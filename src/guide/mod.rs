//! Longer texts: which sink to choose, and how.

#[doc = include_str!("blocking_or_async.md")]
pub mod blocking_or_async {}
