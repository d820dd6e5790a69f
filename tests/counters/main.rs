//! Drives the counter service of `examples/counters` as a real process, over HTTP, against SQLite
//! and a real Postgres.
//!
//! Where Postgres is not installed its tests say so and pass; with `WRITE_BEHIND_REQUIRE_SERVERS=1`
//! they fail instead.

mod bad_input;
mod binary;
mod command_line;
mod database;
mod dead_letters;
mod exactly_once;
mod hanging;
mod http;
mod load;
mod outage;
mod postgres_server;
mod proxy;
mod service;
mod shutdown;
mod sql;
mod sums;
mod wait;
