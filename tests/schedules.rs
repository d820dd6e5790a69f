//! Schedules: the real partitions, dispatch and threads under a model checker that tries thousands
//! of interleavings of each danger.
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle --test schedules
//! ```
//!
//! `WRITE_BEHIND_SCHEDULES` sets how many schedules of each scenario are tried (default 10 000), half
//! of them uniformly random, half by probabilistic concurrency testing (Burckhardt et al., 2010).
//! Time is a manual clock, so nothing happens just because a test waits long enough: a lost wake-up
//! is a deadlock, which the checker reports together with the schedule that leads to it.

#![cfg(shuttle)]

#[path = "schedules/bounds.rs"]
mod bounds;
#[path = "schedules/counterparts.rs"]
mod counterparts;
#[path = "schedules/data.rs"]
mod data;
#[cfg(feature = "journal")]
#[path = "schedules/journal.rs"]
mod journal;
#[path = "schedules/lanes.rs"]
mod lanes;
#[path = "schedules/life.rs"]
mod life;
#[path = "schedules/pool.rs"]
mod pool;
#[path = "schedules/stage.rs"]
mod stage;
#[path = "schedules/volume.rs"]
mod volume;
#[path = "schedules/wake.rs"]
mod wake;
