//! Exactly once, whatever the database: what a store has to be able to do, and the sink that makes use of it.
//!
//! A [`Store`] (or, with the feature `tokio`, an [`AsyncStore`]) is a place for data with transactions and a
//! *ledger*, which says of each batch what became of it. [`ExactlyOnce`] turns it into a sink that counts each
//! insert once, whatever is repeated, cancelled, overtaken, split or sent again after a restart. How and why:
//! [the guide](crate::guide::exactly_once).
//!
//! Stores that are ready to use are in crates beside this one: `write-behind-sqlite`, `write-behind-postgres`
//! and `write-behind-redis`. For another database, or another client, implement the trait. In memory, without a
//! database:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex, MutexGuard};
//! use write_behind::exactly_once::{ExactlyOnce, Fate, Store, StoreError};
//! use write_behind::{BatchId, Buffer, FlushBatch, Sum, Writer};
//!
//! #[derive(Default)]
//! struct Tables {
//!     views: HashMap<String, i64>,
//!     /// For each instance its highest epoch, and the lowest sequence that is not settled.
//!     writers: HashMap<u64, (u64, u64)>,
//!     fates: HashMap<BatchId, Fate>,
//! }
//!
//! impl Tables {
//!     /// What the ledger says of a batch to somebody of that epoch; `None` if it may be applied or made void.
//!     fn fate(&self, id: BatchId, epoch: u64) -> Option<Fate> {
//!         match self.writers.get(&id.instance) {
//!             Some((highest, _)) if *highest > epoch => Some(Fate::Superseded { by: *highest }),
//!             Some((highest, settled_below)) if *highest == epoch => {
//!                 let settled = (id.sequence < *settled_below).then_some(Fate::Settled);
//!                 self.fates.get(&id).cloned().or(settled)
//!             }
//!             _ => Some(Fate::Unregistered),
//!         }
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Views(Mutex<Tables>);
//!
//! impl Views {
//!     /// A transaction.
//!     fn begin(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
//!         self.0.lock().map_err(|_| StoreError::unknown("poisoned"))
//!     }
//! }
//!
//! impl Store<String, Sum<i64>> for Views {
//!     fn register(&self, Writer { instance, epoch, .. }: Writer) -> Result<u64, StoreError> {
//!         let mut tables = self.begin()?;
//!         let (highest, _) = tables.writers.entry(instance).or_insert((epoch, 0));
//!         *highest = epoch.max(*highest);
//!         Ok(*highest)
//!     }
//!
//!     fn apply(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<Fate, StoreError> {
//!         let mut tables = self.begin()?;
//!         if let Some(fate) = tables.fate(batch.id(), batch.epoch()) {
//!             return Ok(fate);
//!         }
//!         for entry in batch.entries() {
//!             *tables.views.entry(entry.key().clone()).or_default() += entry.data().0;
//!         }
//!         tables.fates.insert(batch.id(), Fate::Applied);
//!         Ok(Fate::Applied)
//!     }
//!
//!     fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
//!         let mut tables = self.begin()?;
//!         if let Some(fate) = tables.fate(batch, epoch) {
//!             return Ok(fate);
//!         }
//!         tables.fates.insert(batch, Fate::Void);
//!         Ok(Fate::Void)
//!     }
//!
//!     fn prune(&self, Writer { instance, epoch, .. }: Writer, below: u64) -> Result<(), StoreError> {
//!         let mut tables = self.begin()?;
//!         if let Some((_, gate)) = tables.writers.get_mut(&instance).filter(|(highest, _)| *highest <= epoch) {
//!             *gate = below.max(*gate);
//!             tables.fates.retain(|id, _| id.instance != instance || id.sequence >= below);
//!         }
//!         Ok(())
//!     }
//!
//!     fn retire(&self, Writer { instance, epoch, .. }: Writer) -> Result<(), StoreError> {
//!         let mut tables = self.begin()?;
//!         if tables.writers.get(&instance).is_some_and(|(highest, _)| *highest <= epoch) {
//!             tables.writers.remove(&instance);
//!             tables.fates.retain(|id, _| id.instance != instance);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let store = Arc::new(Views::default());
//! let views = Buffer::builder().start(ExactlyOnce::new(Arc::clone(&store)))?;
//! views.add("/home", 1)?;
//! views.add("/home", 1)?;
//! views.shutdown(std::time::Duration::from_secs(10))?;
//! let tables = store.0.lock().unwrap();
//! assert_eq!(tables.views["/home"], 2);
//! assert!(tables.fates.is_empty() && tables.writers.is_empty(), "the ledger is empty in the end");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg_attr(
    not(feature = "tokio"),
    allow(dead_code, unreachable_pub, reason = "blocking stores go the same way, in one poll")
)]
mod async_store;
mod error;
mod fate;
#[cfg(feature = "tokio")]
mod on_threads;
mod protocol;
mod reading;
mod sink;
mod store;

#[cfg(feature = "tokio")]
pub use async_store::AsyncStore;
pub use error::{StoreError, StoreErrorKind};
pub use fate::{Fate, ParseFateError, Rejection};
#[cfg(feature = "tokio")]
pub use on_threads::OnThreads;
#[cfg(feature = "tokio")]
pub use reading::read_exactly_async;
pub use reading::{Exact, Reading, read_exactly};
pub use sink::ExactlyOnce;
pub use store::Store;
