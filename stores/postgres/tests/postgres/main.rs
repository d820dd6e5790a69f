//! The stores over a real server.

mod columns;
mod conformance;
mod database;
mod faults;
mod names;
mod refusals;
#[cfg(feature = "tls")]
mod tls;
