//! What is kept per key between two flushes.

mod collect;
mod extremes;
mod sum;
mod tuples;

pub use extremes::{Count, Last, Max, Min};
pub use sum::{Addend, Sum};

/// What a buffer keeps and flushes per key: starts from one item and absorbs the ones that follow.
///
/// The crate ships `Vec<T>` (every item, in order), [`Sum`], [`Count`], [`Min`], [`Max`], [`Last`]
/// and tuples of aggregates that are fed the same item. Implement the trait for anything else.
///
/// # Two measures
///
/// The buffer counts *inserts* by itself; an aggregate only tells its *weight*, what it occupies in
/// the unit of [`Builder::max_weight`](crate::Builder::max_weight). A sum weighs 1 however often it
/// was added to; a list weighs its length. For an aggregate whose size changes, implement
/// [`weight`](Self::weight), [`start_weight`](Self::start_weight) and [`growth`](Self::growth)
/// together: the buffer reserves what the last two announce *before* it touches the aggregate, so
/// that the bound is never exceeded, and then settles on what `weight` says.
///
/// # Where it runs
///
/// All methods run under the lock of the key's partition: they must be quick, must not call the
/// buffer and should not do I/O. A panic unwinds to the caller of `insert`; the item that caused it
/// is not counted, the aggregate stays as the panic left it, and the buffer goes on.
///
/// ```
/// use std::collections::HashSet;
/// use write_behind::Aggregate;
///
/// /// Unique visitors.
/// #[derive(Default)]
/// struct Unique(HashSet<u64>);
///
/// impl Aggregate for Unique {
///     type Item = u64;
///     fn start(item: u64) -> Self {
///         Unique(HashSet::from([item]))
///     }
///     fn absorb(&mut self, item: u64) {
///         self.0.insert(item);
///     }
///     fn merge(&mut self, later: Self) {
///         self.0.extend(later.0);
///     }
///     fn weight(&self) -> u64 {
///         self.0.len() as u64
///     }
///     fn growth(&self, _item: &u64) -> u64 {
///         1 // at most
///     }
/// }
///
/// let mut seen = Unique::start(7);
/// seen.absorb(7);
/// seen.absorb(8);
/// assert_eq!(seen.weight(), 2);
/// ```
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// What one insert brings.
    type Item: Send;

    /// A new aggregate that holds just `item`.
    fn start(item: Self::Item) -> Self;

    /// Takes one more item in. Called only if [`accepts`](Self::accepts) said yes.
    fn absorb(&mut self, item: Self::Item);

    /// Takes in an aggregate of the same key that began *later*. Called only if
    /// [`accepts_merge`](Self::accepts_merge) said yes; happens when
    /// [`Verdict::Requeue`](crate::Verdict::Requeue) meets newer data.
    fn merge(&mut self, later: Self);

    /// What this aggregate occupies. Default: 1, right for anything of constant size.
    fn weight(&self) -> u64 {
        1
    }

    /// What `start(item)` will weigh, at most. Default: 1.
    fn start_weight(item: &Self::Item) -> u64 {
        let _ = item;
        1
    }

    /// By how much absorbing `item` will raise [`weight`](Self::weight), at most. Default: 0.
    fn growth(&self, item: &Self::Item) -> u64 {
        let _ = item;
        0
    }

    /// Whether `item` still fits, for example without overflow. If not, the buffer closes this
    /// generation early and starts the next one with `item`. Default: always.
    fn accepts(&self, item: &Self::Item) -> bool {
        let _ = item;
        true
    }

    /// Whether nothing more is to be waited for: all parts of a join are there, a window is over.
    /// The insert that makes this true makes the generation due at once, as
    /// [`FlushReason::Complete`](crate::FlushReason::Complete); one that never gets there is flushed
    /// at its deadline. Default: false, which costs nothing.
    ///
    /// Asked of a new aggregate, and before and after each `absorb`, so it should be a look at a
    /// field. A generation that is due goes on absorbing until it is taken, and is flushed even if
    /// it is then no longer ready; use [`accepts`](Self::accepts) to start a new one instead. Data
    /// that is put back ([`Verdict::Requeue`](crate::Verdict::Requeue)) waits for its fresh deadline,
    /// ready or not.
    ///
    /// ```
    /// use write_behind::Aggregate;
    ///
    /// enum Part {
    ///     Order(u64),
    ///     Payment(u64),
    /// }
    ///
    /// /// An order and its payment, in whichever order they come.
    /// #[derive(Default)]
    /// struct Purchase {
    ///     order: Option<u64>,
    ///     payment: Option<u64>,
    /// }
    ///
    /// impl Aggregate for Purchase {
    ///     type Item = Part;
    ///     fn start(part: Part) -> Self {
    ///         let mut purchase = Purchase::default();
    ///         purchase.absorb(part);
    ///         purchase
    ///     }
    ///     fn absorb(&mut self, part: Part) {
    ///         match part {
    ///             Part::Order(order) => self.order = Some(order),
    ///             Part::Payment(payment) => self.payment = Some(payment),
    ///         }
    ///     }
    ///     fn merge(&mut self, later: Self) {
    ///         self.order = later.order.or(self.order);
    ///         self.payment = later.payment.or(self.payment);
    ///     }
    ///     fn is_ready(&self) -> bool {
    ///         self.order.is_some() && self.payment.is_some()
    ///     }
    /// }
    ///
    /// let mut purchase = Purchase::start(Part::Payment(7));
    /// assert!(!purchase.is_ready());
    /// purchase.absorb(Part::Order(1));
    /// assert!(purchase.is_ready());
    /// ```
    fn is_ready(&self) -> bool {
        false
    }

    /// Whether `later` can be merged in. If not, the two are flushed one after the other.
    /// Default: always.
    fn accepts_merge(&self, later: &Self) -> bool {
        let _ = later;
        true
    }
}
