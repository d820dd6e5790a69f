//! The stores over real files.

mod columns;
mod conformance;
mod epochs;
mod file;
mod names;
mod reads;
mod refusals;
