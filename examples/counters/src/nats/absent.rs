//! What stands in for NATS in a build without the feature `nats`: an address that cannot exist.

use crate::postgres;
use crate::store::{Store, StoreError};

#[derive(Debug, Clone)]
pub(crate) enum Address {}

pub(crate) fn address(_: &str) -> Result<Address, String> {
    Err("this build has no NATS client: build it with `--features nats`".to_owned())
}

pub(crate) async fn open(address: Address, _: postgres::Address) -> Result<Box<dyn Store>, StoreError> {
    match address {}
}
