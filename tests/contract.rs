//! The contract of the design, line by line: a test is named after the line that it holds the buffer
//! to, and runs with every driver.

#[macro_use]
mod support;

#[path = "contract/bounds.rs"]
mod bounds;
#[path = "contract/data.rs"]
mod data;
#[path = "contract/failure.rs"]
mod failure;
#[path = "contract/intervals.rs"]
mod intervals;
#[path = "contract/life.rs"]
mod life;
#[path = "contract/rest.rs"]
mod rest;
#[path = "contract/timing.rs"]
mod timing;
#[path = "contract/triggers.rs"]
mod triggers;
#[path = "contract/volume.rs"]
mod volume;
