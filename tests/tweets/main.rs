//! Drives the tweet pipeline of `examples/tweets` as a real process, against SQLite and a real
//! Postgres, and looks at the tables past it.
//!
//! Where Postgres is not installed its tests say so and pass; with `WRITE_BEHIND_REQUIRE_SERVERS=1`
//! they fail instead.

mod command_line;
mod ending;
#[path = "../support/example.rs"]
mod example;
mod outage;
#[allow(dead_code)]
#[path = "../counters/postgres_server.rs"]
mod postgres_server;
mod process;
#[allow(dead_code)]
#[path = "../counters/proxy.rs"]
mod proxy;
#[path = "../support/signal.rs"]
mod signal;
#[allow(dead_code)]
#[path = "../counters/sql.rs"]
mod sql;
mod sqlite;
mod tables;
#[path = "../counters/wait.rs"]
mod wait;
