use std::fmt;
use std::hash::{BuildHasher, RandomState};

use super::props::Props;
use super::report::Report;
use super::scenario::Scenario;
use super::subject::Given;
use super::world::World;
use crate::aggregate::Aggregate;
use crate::driver::user::future::complete;
#[cfg(feature = "tokio")]
use crate::into_sink::IntoAsyncSink;
use crate::into_sink::IntoSink;
use crate::key::Key;

/// The kit: how to make keys and data, what to leave out, and the [`run`](Self::run). See the
/// [module](super).
///
/// ```
/// use std::collections::{HashMap, HashSet};
/// use std::sync::{Arc, Mutex};
/// use write_behind::{BatchDataBuffer, BatchId, FlushBatch, FlushError, Sum, conformance::Conformance};
///
/// #[derive(Default)]
/// struct Tables {
///     totals: HashMap<String, i64>,
///     applied: HashSet<BatchId>,
/// }
///
/// /// Records each batch in the transaction that applies it, and never prunes.
/// #[derive(Clone, Default)]
/// struct ExactlyOnce(Arc<Mutex<Tables>>);
///
/// impl BatchDataBuffer<String, Sum<i64>> for ExactlyOnce {
///     fn handle_flush_batch(&self, batch: &FlushBatch<String, Sum<i64>>) -> Result<(), FlushError> {
///         let mut tables = self.0.lock().map_err(|_| "poisoned")?; // the transaction
///         if tables.applied.insert(batch.id()) {
///             for entry in batch.entries() {
///                 *tables.totals.entry(entry.key().clone()).or_default() += entry.data().0;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let store = ExactlyOnce::default();
/// Conformance::new(|n| format!("page-{n}"), Sum)
///     .run(|| store.clone(), || store.0.lock().unwrap().totals.clone())
///     .assert_exactly_once();
/// ```
pub struct Conformance<'a, K, V> {
    props: Props<'a, K, V>,
    seed: u64,
    scenarios: Vec<Scenario>,
}

impl<'a, K: Key, V: Aggregate> Conformance<'a, K, V> {
    /// `key` makes a key of a number, a different one for each; `data` makes the aggregate of so many inserts of
    /// one, such as [`Sum`](crate::Sum) itself.
    ///
    /// ```
    /// use write_behind::{Sum, conformance::Conformance};
    ///
    /// let sums = Conformance::new(|n| format!("page-{n}"), Sum::<i64>);
    /// let lists = Conformance::new(|n| n, |inserts| vec!["click"; inserts as usize]);
    /// # let _ = (sums, lists);
    /// ```
    #[must_use]
    pub fn new(key: impl Fn(u32) -> K + 'a, data: impl Fn(i64) -> V + 'a) -> Self {
        let props = Props {
            key: Box::new(key),
            data: Box::new(data),
            poison: None,
            refuse: None,
            journaled: false,
            excluded: Vec::new(),
        };
        Conformance { props, seed: RandomState::new().hash_one("seed"), scenarios: Scenario::ALL.to_vec() }
    }

    /// Makes amounts, orders, instances and the storm repeatable. Default: random, and told by the report.
    ///
    /// The same seed has the same batch ids: run it over a storage that does not remember them from the last
    /// time.
    ///
    /// ```
    /// use write_behind::{Sum, conformance::Conformance};
    ///
    /// let run = || {
    ///     let ignored = |_: &u32, _: &Sum<i64>| Ok::<(), std::io::Error>(());
    ///     Conformance::new(|n| n, Sum).seed(42).run(|| ignored, || [])
    /// };
    /// assert_eq!(run().to_string(), run().to_string());
    /// ```
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How to make a key that the storage refuses for good, a different one for each number: too long, or with a
    /// character that it cannot store. Default: none, and [`Scenario::Poison`] uses [`refuse`](Self::refuse).
    ///
    /// ```
    /// use write_behind::{Sum, conformance::Conformance};
    ///
    /// // Postgres cannot store a NUL in a text.
    /// let kit = Conformance::new(|n| format!("page-{n}"), Sum::<i64>).poison(|n| format!("page-{n}\0"));
    /// # let _ = kit;
    /// ```
    #[must_use]
    pub fn poison(mut self, poison: impl Fn(u32) -> K + 'a) -> Self {
        self.props.poison = Some(Box::new(poison));
        self
    }

    /// How to make the storage refuse to write a certain key, from now on; `None`: all keys are fine again. A
    /// constraint, a lock, or a flag in a storage made for tests. Default: none, and [`Scenario::Void`] is left
    /// out.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use write_behind::{Sum, conformance::Conformance};
    ///
    /// let forbidden: Mutex<Option<String>> = Mutex::default(); // looked at by the storage
    /// let kit = Conformance::new(|n| format!("page-{n}"), Sum::<i64>)
    ///     .refuse(|page| *forbidden.lock().unwrap() = page.cloned());
    /// # let _ = kit;
    /// ```
    #[must_use]
    pub fn refuse(mut self, refuse: impl FnMut(Option<&K>) + 'a) -> Self {
        self.props.refuse = Some(Box::new(refuse));
        self
    }

    /// The sink is meant for buffers with a journal, which are started again with the same instance and a higher
    /// [epoch](crate::FlushBatch::epoch), and so has to refuse what comes of a lower one. Say it of every
    /// [`ExactlyOnce`](crate::exactly_once::ExactlyOnce). Default: not said, and [`Scenario::Zombie`] is left out: other
    /// buffers have epoch 1 all their life.
    ///
    /// ```
    /// use write_behind::{Sum, conformance::Conformance};
    ///
    /// let kit = Conformance::new(|n| format!("page-{n}"), Sum::<i64>).journaled();
    /// # let _ = kit;
    /// ```
    #[must_use]
    pub fn journaled(mut self) -> Self {
        self.props.journaled = true;
        self
    }

    /// Runs only these scenarios. Default: [all](Scenario::ALL).
    ///
    /// ```
    /// use write_behind::{Sum, conformance::{Conformance, Scenario}};
    ///
    /// let kit = Conformance::new(|n| n, Sum::<i64>).only([Scenario::AnswerLost, Scenario::Restart]);
    /// # let _ = kit;
    /// ```
    #[must_use]
    pub fn only(mut self, scenarios: impl IntoIterator<Item = Scenario>) -> Self {
        let wanted: Vec<_> = scenarios.into_iter().collect();
        self.scenarios.retain(|scenario| wanted.contains(scenario));
        self
    }

    /// Leaves a scenario out that cannot happen to this sink, in the [storm](Scenario::Storm) too.
    ///
    /// ```
    /// use write_behind::{Sum, conformance::{Conformance, Scenario}};
    ///
    /// // The connection is closed before another attempt is made: none is under way for long.
    /// let kit = Conformance::new(|n| n, Sum::<i64>).without(Scenario::LateArrival);
    /// # let _ = kit;
    /// ```
    #[must_use]
    pub fn without(mut self, scenario: Scenario) -> Self {
        self.scenarios.retain(|other| *other != scenario);
        self.props.excluded.push(scenario);
        self
    }

    /// Drives a blocking sink: a [`DataBuffer`](crate::DataBuffer), a
    /// [`BatchDataBuffer`](crate::BatchDataBuffer) or a closure. Everything happens on the calling thread.
    ///
    /// `make` makes a fresh sink over the same storage each time, also while earlier ones live. `read` reads all
    /// totals, after each call and hundreds of times; it must see what was acknowledged before. Keys that are
    /// there already do no harm.
    ///
    /// # Panics
    ///
    /// If one of the given functions does. A sink's panic is an error of unknown outcome, as in a buffer.
    pub fn run<S, Kind, T>(self, mut make: impl FnMut() -> S, mut read: impl FnMut() -> T) -> Report
    where
        S: IntoSink<K, V, Kind>,
        T: IntoIterator<Item = (K, i64)>,
    {
        let Conformance { props, seed, scenarios } = self;
        let read = async || read().into_iter().collect();
        let subject = Given { make: move || make().erase(), read, can_cancel: false };
        complete(World::new(props, subject, seed).run(&scenarios))
    }

    /// Drives an async sink, an [`AsyncDataBuffer`](crate::AsyncDataBuffer) or an
    /// [`AsyncBatchDataBuffer`](crate::AsyncBatchDataBuffer), on whatever runtime this is awaited: nothing is
    /// spawned. As [`run`](Self::run); besides, callbacks are [cancelled](Scenario::Cancelled) where they await.
    /// What a cancelled callback has started elsewhere and what may go on has to be over when `read` returns.
    /// Feature `tokio`.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    /// use write_behind::conformance::{Conformance, Scenario};
    /// use write_behind::{AsyncDataBuffer, FlushContext, FlushError, Sum};
    ///
    /// #[derive(Clone, Default)]
    /// struct Totals(Arc<Mutex<HashMap<u32, i64>>>);
    ///
    /// impl AsyncDataBuffer<u32, Sum<i64>> for Totals {
    ///     async fn handle_flush(&self, page: &u32, views: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
    ///         tokio::task::yield_now().await; // a call to the database
    ///         *self.0.lock().map_err(|_| "poisoned")?.entry(*page).or_default() += views.0;
    ///         tokio::task::yield_now().await; // its answer
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let store = Totals::default();
    /// let kit = Conformance::new(|n| n, Sum).only([Scenario::Cancelled]);
    /// let report = kit.run_async(|| store.clone(), async || store.0.lock().unwrap().clone()).await;
    /// // Cancelled after the second poll it had added, and it adds again.
    /// assert!(report.to_string().contains("cancelled after poll 2"), "{report}");
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[cfg(feature = "tokio")]
    pub async fn run_async<S, Kind, T>(
        self,
        mut make: impl FnMut() -> S,
        mut read: impl AsyncFnMut() -> T,
    ) -> Report
    where
        S: IntoAsyncSink<K, V, Kind>,
        T: IntoIterator<Item = (K, i64)>,
    {
        let Conformance { props, seed, scenarios } = self;
        let read = async || read().await.into_iter().collect();
        let subject = Given { make: move || make().erase(), read, can_cancel: true };
        World::new(props, subject, seed).run(&scenarios).await
    }
}

impl<K, V> fmt::Debug for Conformance<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance")
            .field("seed", &self.seed)
            .field("scenarios", &self.scenarios)
            .finish_non_exhaustive()
    }
}
