//! What the contract's tests stand on: one rig for every driver, and a sink that plays a script.

mod clock;
mod gate;
mod journaled;
mod rig;
mod script;

pub(crate) use gate::Gate;
pub(crate) use rig::{Driver, Rig, ms, secs, steady};
pub(crate) use script::{Answer, Call, Script};

/// Makes a `#[test]` per driver of each scenario: `name::threads`, `name::inline`, `name::tasks`.
macro_rules! each_driver {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            driver_test!(threads, $scenario, Threads);
            driver_test!(inline, $scenario, Inline);
            driver_test!(tasks, $scenario, Tasks);
        }
    )+};
}

/// As [`each_driver`], for scenarios that need callbacks to go on while the test does something.
macro_rules! each_concurrent_driver {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            driver_test!(threads, $scenario, Threads);
            driver_test!(tasks, $scenario, Tasks);
        }
    )+};
}

macro_rules! driver_test {
    ($name:ident, $scenario:ident, $driver:ident) => {
        #[test]
        fn $name() {
            super::$scenario(crate::support::Driver::$driver);
        }
    };
}

mod tests;
