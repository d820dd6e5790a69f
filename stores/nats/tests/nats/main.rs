//! The store over a real server.

mod bounds;
mod conformance;
mod faults;
mod left_out;
mod server;
