//! Drives the tweet pipeline of `examples/tweets` as a real process, against SQLite and a real
//! Postgres, and looks at the tables past it.
//!
//! Where Postgres is not installed its tests say so and pass; with `WRITE_BEHIND_REQUIRE_SERVERS=1`
//! they fail instead.

mod command_line;
mod encrypted;
mod ending;
mod outage;
mod process;
mod sqlite;
mod tables;
