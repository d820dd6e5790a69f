//! The stores over a real server.

mod conformance;
mod faults;
mod hashes;
mod server;
