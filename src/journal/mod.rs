//! The journal: what was accepted survives a crash.

mod error;
#[cfg(feature = "journal")]
#[allow(dead_code, reason = "being built")]
pub(crate) mod file;

pub use error::JournalError;
