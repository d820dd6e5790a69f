//! Drives the counter service of `examples/counters` as a real process, over HTTP, against SQLite and
//! real servers.
//!
//! Where a server is not installed its tests say so and pass; with `WRITE_BEHIND_REQUIRE_SERVERS=1`
//! they fail instead.

mod bad_input;
mod command_line;
mod database;
mod dead_letters;
mod encrypted;
mod exactly_once;
mod fleet;
mod fuzz;
mod hanging;
mod http;
mod hydrate;
mod journal;
mod kills;
mod load;
mod log_table;
mod marks;
mod max_updates;
mod nats_sink;
mod outage;
mod reading_clients;
mod redis_sink;
mod service;
mod shutdown;
mod soak;
mod sums;
