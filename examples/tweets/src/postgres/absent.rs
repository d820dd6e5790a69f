//! What stands in for Postgres in a build without the feature `postgres`: an address and a store that cannot
//! exist.

use write_behind::{BuildError, Builder, Sum, SummingBuffer};

use crate::store::{Contents, StoreError};
use crate::tweet::{Row, User};

#[derive(Debug, Clone)]
pub(crate) enum Address {}

pub(crate) enum Postgres {}

pub(crate) fn address(_: &str) -> Result<Address, String> {
    Err("this build has no Postgres client: build it with `--features postgres`".to_owned())
}

impl Postgres {
    pub(crate) async fn open(address: Address, _: bool) -> Result<Self, StoreError> {
        match address {}
    }

    pub(crate) async fn write(&self, _: &[Row]) -> Result<(), StoreError> {
        match *self {}
    }

    pub(crate) fn start_engagement(
        &self,
        _: Builder<User, Sum<i64>>,
    ) -> Result<SummingBuffer<User, i64>, BuildError> {
        match *self {}
    }

    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        match *self {}
    }
}
