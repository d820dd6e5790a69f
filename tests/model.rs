//! Model test: random histories of a buffer against a plain model of the contract.
//!
//! The inline driver runs everything on this thread and on a manual clock. A sink ends its attempts
//! as the history says and writes down what it saw; after every step the model follows what was
//! written down, refuses whatever the contract does not allow, and has to agree with the buffer's
//! statistics and reads. `WRITE_BEHIND_CASES` sets how many histories are tried (default 300 of each
//! kind).

#[path = "model/check.rs"]
mod check;
#[path = "model/follow.rs"]
mod follow;
#[path = "model/history.rs"]
mod history;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/run.rs"]
mod run;
#[path = "model/sink.rs"]
mod sink;

use proptest::prelude::*;
use proptest::test_runner::Config;
use write_behind::Sum;

fn cases() -> Config {
    let cases = std::env::var("WRITE_BEHIND_CASES");
    let cases = cases.map_or(300, |cases| cases.parse().expect("WRITE_BEHIND_CASES is a number"));
    Config { cases, max_shrink_iters: 20_000, ..Config::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// Lists: order, loss and duplication can be seen item by item.
    #[test]
    fn lists_follow_the_model(history in history::histories()) {
        run::run::<Vec<u64>>(&history);
    }

    /// Sums that often overflow, so that generations are closed early.
    #[test]
    fn sums_that_overflow_follow_the_model(history in history::histories()) {
        run::run::<Sum<i8>>(&history);
    }

    /// Sums that lanes absorb: that can be told by nothing.
    #[test]
    fn sums_in_lanes_follow_the_model(history in history::histories()) {
        run::run::<Sum<i64>>(&history);
    }

    /// Joins that are often complete, and as often closed early.
    #[test]
    fn joins_follow_the_model(history in history::histories()) {
        run::run::<sink::Join>(&history);
    }
}
