//! What the contract's tests stand on: one rig for every driver, and a sink that plays a script.

mod clock;
mod gate;
mod rig;
mod script;

pub(crate) use gate::Gate;
pub(crate) use rig::{Driver, Rig, ms, secs};
pub(crate) use script::{Answer, Call, Script};

/// Makes a `#[test]` per driver of each scenario: `name::threads`, `name::inline`, `name::tasks`.
macro_rules! each_driver {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn threads() {
                super::$scenario(crate::support::Driver::Threads);
            }

            #[test]
            fn inline() {
                super::$scenario(crate::support::Driver::Inline);
            }

            #[test]
            fn tasks() {
                super::$scenario(crate::support::Driver::Tasks);
            }
        }
    )+};
}

/// As [`each_driver`], for scenarios that need callbacks to go on while the test does something.
macro_rules! each_concurrent_driver {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn threads() {
                super::$scenario(crate::support::Driver::Threads);
            }

            #[test]
            fn tasks() {
                super::$scenario(crate::support::Driver::Tasks);
            }
        }
    )+};
}

mod tests;
