//! Longer texts: what is promised, which sink to choose, how batches count once, what hot keys cost, what survives a crash,
//! recipes, how to test a sink; and by the name of the problem: hot rows, choosing interval and bounds, shutting down, moving
//! from something else.

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

#[doc = include_str!("hot_rows.md")]
pub mod hot_rows {}

#[doc = include_str!("choosing.md")]
pub mod choosing {}

#[doc = include_str!("moving.md")]
pub mod moving {}

#[doc = include_str!("shutting_down.md")]
pub mod shutting_down {}
