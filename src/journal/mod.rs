//! The journal: what was accepted survives a crash.

mod codec;
mod error;
#[cfg(feature = "journal")]
#[allow(dead_code, reason = "being built")]
pub(crate) mod file;
#[cfg(feature = "journal")]
mod postcard;

pub use codec::{Codec, CodecError};
pub use error::JournalError;
#[cfg(all(feature = "journal", feature = "test-util"))]
pub use file::simulated::{Fault, SimulatedDisk};
#[cfg(feature = "journal")]
pub use postcard::Postcard;
