//! Random histories with crashes.
