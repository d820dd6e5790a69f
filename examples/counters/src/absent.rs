//! What stands in for clients that are not compiled in: addresses that cannot exist.

macro_rules! absent {
    ($module:ident, $client:literal, $feature:literal, fn $run:ident($($other:ty),*)) => {
        pub(crate) mod $module {
            use std::net::TcpListener;

            use crate::Ended;
            use crate::args::Args;

            #[derive(Debug, Clone)]
            pub(crate) enum Address {}

            pub(crate) fn address(_: &str) -> Result<Address, String> {
                Err(concat!("this build has no ", $client, " client: build it with `--features ", $feature, "`").to_owned())
            }

            pub(crate) async fn $run(address: Address, $(_: $other,)* _: &Args, _: TcpListener) -> Ended {
                match address {}
            }
        }
    };
}

#[cfg(not(feature = "postgres"))]
absent!(postgres, "Postgres", "postgres", fn run());
#[cfg(not(feature = "postgres"))]
pub(crate) use self::postgres as log_table;
#[cfg(not(feature = "redis"))]
absent!(redis, "Redis", "redis", fn run());
#[cfg(not(feature = "nats"))]
absent!(nats, "NATS", "nats", fn run(crate::postgres::Address));
