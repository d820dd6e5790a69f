//! See tests/lanes.rs.
