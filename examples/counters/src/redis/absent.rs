//! What stands in for Redis in a build without the feature `redis`: an address that cannot exist.

use crate::store::{Store, StoreError};

#[derive(Debug, Clone)]
pub(crate) enum Address {}

pub(crate) fn address(_: &str) -> Result<Address, String> {
    Err("this build has no Redis client: build it with `--features redis`".to_owned())
}

pub(crate) async fn open(address: Address) -> Result<Box<dyn Store>, StoreError> {
    match address {}
}
