//! What the contract's tests stand on: one rig for every driver, and a sink that plays a script.

mod gate;
mod rig;
mod script;

pub(crate) use gate::Gate;
pub(crate) use rig::{Driver, Rig, ms, secs};
pub(crate) use script::{Answer, Call, Script};

/// Makes a `#[test]` per driver of each scenario: `name::threads` and `name::inline`.
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
        }
    )+};
}

mod tests;
