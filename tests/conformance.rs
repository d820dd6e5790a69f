//! The conformance kit: it acquits sinks that are right, and convicts each that is wrong where it is wrong.

#[path = "conformance/acquittals.rs"]
mod acquittals;
#[path = "conformance/convictions.rs"]
mod convictions;
#[path = "conformance/court.rs"]
mod court;
#[path = "conformance/ledger_store.rs"]
mod ledger_store;
#[path = "conformance/protocol.rs"]
mod protocol;
#[path = "conformance/reports.rs"]
mod reports;
#[path = "conformance/sinks.rs"]
mod sinks;
#[path = "conformance/store.rs"]
mod store;
