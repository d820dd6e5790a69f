//! The journal: what was accepted, on disk.

pub(crate) mod disk;
