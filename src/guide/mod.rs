//! Longer texts: which sink to choose, and recipes.

#[doc = include_str!("blocking_or_async.md")]
pub mod blocking_or_async {}

#[doc = include_str!("recipes.md")]
pub mod recipes {}
