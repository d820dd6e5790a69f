//! The page at `/`, in a real browser; what it is fed with; and `/metrics`. Over SQLite, so in every build.
//!
//! Where there is no Chromium the tests that look at the page say so and pass; with
//! `WRITE_BEHIND_REQUIRE_SERVERS=1` they fail instead.

mod browser;
#[path = "../../src/dashboard/history.rs"]
#[allow(dead_code, reason = "the page needs more of it")]
mod history;
#[path = "../counters/http.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod http;
mod memory;
mod page;
mod scrape;
#[path = "../counters/service.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod service;
#[path = "../../src/dashboard/top_keys.rs"]
mod top_keys;
