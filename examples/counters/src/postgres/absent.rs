//! What stands in for Postgres in a build without the feature `postgres`: an address that cannot exist.

use crate::store::{Store, StoreError};

#[derive(Debug, Clone)]
pub(crate) enum Address {}

pub(crate) fn address(_: &str) -> Result<Address, String> {
    Err("this build has no Postgres client: build it with `--features postgres`".to_owned())
}

pub(crate) async fn open(address: Address) -> Result<Box<dyn Store>, StoreError> {
    match address {}
}

pub(crate) async fn open_log_table(address: Address) -> Result<Box<dyn Store>, StoreError> {
    match address {}
}
