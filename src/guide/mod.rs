//! Longer texts: what is promised, which sink to choose, how batches count once, what hot keys cost, what survives a crash, recipes, and how to
//! test a sink.

#[doc = include_str!("contract.md")]
pub mod contract {}

#[doc = include_str!("blocking_or_async.md")]
pub mod blocking_or_async {}

#[doc = include_str!("exactly_once.md")]
pub mod exactly_once {}

#[doc = include_str!("hot_keys.md")]
pub mod hot_keys {}

#[cfg(feature = "journal")]
#[doc = include_str!("journal.md")]
pub mod journal {}

#[doc = include_str!("recipes.md")]
pub mod recipes {}

#[cfg(feature = "test-util")]
#[doc = include_str!("testing_sinks.md")]
pub mod testing_sinks {}
