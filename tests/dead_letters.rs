//! Dead letters on disk: what is given up is in the file, and from there in the storage, once.

#[path = "dead_letters/burying.rs"]
mod burying;
#[path = "conformance/ledger_store.rs"]
#[allow(dead_code, reason = "made for another test")]
mod ledger_store;
#[path = "dead_letters/replaying.rs"]
mod replaying;
#[path = "dead_letters/shelf.rs"]
mod shelf;
