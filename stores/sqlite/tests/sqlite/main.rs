//! The stores over real files.

mod columns;
mod conformance;
mod file;
mod names;
mod refusals;
