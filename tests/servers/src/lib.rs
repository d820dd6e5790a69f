//! Real servers for tests: each private to one test, in a throw-away folder on a free port; and what else
//! tests of processes need.
//!
//! Where a server is not installed its tests say so and pass; with `WRITE_BEHIND_REQUIRE_SERVERS=1`
//! they fail instead.

mod postgres_server;
mod proxy;
mod seeds;
mod server;
mod signal;
mod sql;
mod wait;

pub use postgres_server::{PostgresServer, free_port};
pub use proxy::{Proxy, Spoil};
pub use seeds::seeds;
pub use server::Server;
pub use signal::signal;
pub use sql::SqlClient;
pub use wait::{LIMIT, eventually};
