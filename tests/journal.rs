//! The journal: what survives a crash, and that it counts exactly once.
//!
//! A crash is a copy of the file, taken at the instant at which the process would die: what was not committed is not
//! in it. The next life begins with the copy; the old one goes on for nothing, as a zombie, or is forgotten.

#![cfg(feature = "journal")]

#[path = "journal/crash_points.rs"]
mod crash_points;
#[path = "journal/dangers.rs"]
mod dangers;
#[path = "journal/failures.rs"]
mod failures;
#[path = "journal/handed_over.rs"]
mod handed_over;
#[path = "journal/life.rs"]
mod life;
#[path = "journal/model.rs"]
mod model;
#[path = "journal/promises.rs"]
mod promises;
#[path = "journal/real.rs"]
mod real;
#[path = "journal/small.rs"]
mod small;
#[path = "journal/spill.rs"]
mod spill;
#[path = "journal/spilled_lists.rs"]
mod spilled_lists;
#[path = "journal/store.rs"]
mod store;
