//! The journal: what was accepted survives a crash.

mod codec;
mod error;
#[cfg(feature = "journal")]
pub(crate) mod file;
#[cfg(feature = "journal")]
mod postcard;
mod settings;

pub use codec::{Codec, CodecError};
pub use error::{DurableError, JournalError, SyncError};
#[cfg(all(feature = "journal", feature = "test-util"))]
pub use file::simulated::{Fault, SimulatedDisk};
#[cfg(feature = "journal")]
pub use postcard::Postcard;
pub use settings::{Journal, OnDiskFailure, Recovered};
