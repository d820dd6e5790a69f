//! The stores over a real server.

mod conformance;
mod epochs;
mod faults;
mod hashes;
mod reads;
mod server;
