//! A conformance kit for sinks: drives a sink of yours as a hostile world would, and says whether each
//! insert counted exactly once, more than once, or not at all. Feature `test-util`.
//!
//! Hand it a way to make the sink, a way to read the totals back, and two small functions that make keys and
//! data. It plays the buffer, by the buffer's own rules, and what lies between buffer and storage: answers
//! that are lost, callbacks that are cancelled, attempts that overtake each other or arrive when all is over,
//! batches that are halved, keys that are refused, processes that die. [`Scenario`] lists what it does.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use write_behind::conformance::{Conformance, Delivery, Scenario};
//! use write_behind::{DataBuffer, FlushContext, FlushError, Sum};
//!
//! /// Adds, and asks nobody whether it has done so already.
//! #[derive(Clone, Default)]
//! struct Naive(Arc<Mutex<HashMap<String, i64>>>);
//!
//! impl DataBuffer<String, Sum<i64>> for Naive {
//!     fn handle_flush(&self, page: &String, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
//!         let mut totals = self.0.lock().map_err(|_| "poisoned")?;
//!         *totals.entry(page.clone()).or_default() += views.0;
//!         Ok(())
//!     }
//! }
//!
//! let store = Naive::default();
//! let report = Conformance::new(|n| format!("page-{n}"), Sum)
//!     .run(|| store.clone(), || store.0.lock().unwrap().clone());
//! println!("{report}");
//! report.assert_at_least_once();
//! assert_eq!(report.delivery_in(Scenario::Plain), Some(&Delivery::ExactlyOnce));
//! assert!(matches!(report.delivery_in(Scenario::AnswerLost), Some(Delivery::AtLeastOnce { .. })));
//! ```
//!
//! # A hostile world, not an impossible one
//!
//! What happens is what a buffer, a network and a storage can do to a sink, and no more:
//!
//! - A key is in one batch at a time. A batch is sent again only whole, identical and under the same id, and
//!   never after its `Ok`; but an attempt that was made once can still arrive, also a second time, unless its
//!   sink has said that it failed for certain.
//! - What follows an error is decided by the code that decides it in a buffer: halves after
//!   [`not_applied`](crate::FlushError::not_applied), unless an earlier attempt ended unknown, and after
//!   [`never_applied`](crate::FlushError::never_applied) always; single keys after
//!   [`entries`](crate::FlushError::entries); and in the end `handle_error`, whose verdict is honoured.
//! - [`settled_below`](crate::FlushBatch::settled_below) is the lowest sequence that is still open.
//!
//! A sink that claims more than is true is therefore caught where its claim does harm.
//!
//! # Why counters
//!
//! The kit sends amounts and reads totals, one `i64` per key: only what adds up can show that something
//! counted twice. A sink of lists takes a list of so many items (`|n| vec![(); n as usize]`) and reads back how
//! many there are. A sink that stores the latest value or a set needs no record of ids; there is nothing to
//! count.

mod books;
mod cancelling;
mod course;
mod findings;
mod giving_up;
mod kit;
mod process;
mod props;
mod report;
mod scenario;
mod scenarios;
mod subject;
mod world;

pub use kit::Conformance;
pub use report::{Delivery, Report, ScenarioReport};
pub use scenario::Scenario;
