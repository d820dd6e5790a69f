//! The journal: what was accepted survives a crash.

mod error;

pub use error::JournalError;
