//! The stores over a real server.

mod columns;
mod conformance;
mod database;
mod epochs;
mod faults;
mod logged;
mod names;
mod reads;
mod refusals;
mod storm;
#[cfg(feature = "tls")]
mod tls;
