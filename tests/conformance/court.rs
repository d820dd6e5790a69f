//! Puts a sink of each kind before the kit.

use tokio::runtime;
use write_behind::Sum;
use write_behind::conformance::{Conformance, Report};

use crate::sinks::{AsyncByBatch, AsyncByKey, ByBatch, ByKey, Client};
use crate::store::{Flaw, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Batch,
    AsyncKey,
    AsyncBatch,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Key, Kind::Batch, Kind::AsyncKey, Kind::AsyncBatch];
pub(crate) const BATCHES: [Kind; 2] = [Kind::Batch, Kind::AsyncBatch];
pub(crate) const ASYNC: [Kind; 2] = [Kind::AsyncKey, Kind::AsyncBatch];

pub(crate) fn kit(store: &Store) -> Conformance<'_, String, Sum<i64>> {
    Conformance::new(|n| format!("key-{n}"), Sum).refuse(|key| store.refuse(key))
}

pub(crate) fn judge(kind: Kind, flaw: Flaw, seed: u64) -> Report {
    let store = Store::default();
    judge_with(kit(&store).seed(seed), &store, kind, flaw)
}

pub(crate) fn judge_with(
    kit: Conformance<'_, String, Sum<i64>>,
    store: &Store,
    kind: Kind,
    flaw: Flaw,
) -> Report {
    let client = || Client::new(store, flaw);
    let read = || store.totals();
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    match kind {
        Kind::Key => kit.run(|| ByKey(client()), read),
        Kind::Batch => kit.run(|| ByBatch(client()), read),
        Kind::AsyncKey => runtime.block_on(kit.run_async(|| AsyncByKey(client()), async || read())),
        Kind::AsyncBatch => runtime.block_on(kit.run_async(|| AsyncByBatch(client()), async || read())),
    }
}
