//! What stands in for clients that are not compiled in: addresses that cannot exist.

macro_rules! absent {
    ($module:ident) => {
        pub(crate) mod $module {
            #[derive(Debug, Clone)]
            pub(crate) enum Address {}

            pub(crate) fn address(_: &str) -> Result<Address, String> {
                let client = stringify!($module);
                Err(format!("this build has no client for {client}: build it with `--features {client}`"))
            }
        }
    };
}

#[cfg(not(feature = "nats"))]
absent!(nats);
#[cfg(not(feature = "postgres"))]
absent!(postgres);
#[cfg(not(feature = "redis"))]
absent!(redis);
