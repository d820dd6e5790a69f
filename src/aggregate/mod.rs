//! What is kept per key between two flushes.

mod collect;
mod extremes;
mod sets;
mod sum;
mod tuples;
mod words;

pub use extremes::{Count, Last, Max, Min};
pub use sum::{Addend, Increment, Sum};

/// What a buffer keeps and flushes per key: starts from one item and absorbs the ones that follow.
///
/// The crate ships `Vec<T>` (every item, in order), `HashSet<T>` and `BTreeSet<T>` (every different
/// item), [`Sum`], [`Count`], [`Min`], [`Max`], [`Last`]
/// and tuples of aggregates that are fed the same item. Implement the trait for anything else.
///
/// # Two measures
///
/// The buffer counts *inserts* by itself; an aggregate only tells its *weight*, what it occupies in
/// the unit of [`Builder::max_weight`](crate::Builder::max_weight). A sum weighs 1 however often it
/// was added to; a list weighs its length. For an aggregate whose size changes, implement
/// [`weight`](Self::weight), [`start_weight`](Self::start_weight) and [`growth`](Self::growth)
/// together: the buffer reserves what the last two announce *before* it touches the aggregate, so
/// that the bound is never exceeded, and then settles on what `weight` says. Should that be more than was
/// announced, it is charged all the same: the bound is exceeded by that one insert, and the next one that
/// comes to its partition has to wait for room.
///
/// # Where it runs
///
/// All methods run under the lock of the key's partition: they must be quick, must not call the
/// buffer and should not do I/O. Items that an aggregate lets go of can be dropped outside the lock:
/// see [`displace`](Self::displace). For a [hot key](crate::guide::hot_keys) they run in a lane of the thread's own instead,
/// and whoever flushes the key waits for them. A panic unwinds to the caller of `insert`; the item that caused it
/// is not counted, the aggregate stays as the panic left it, and the buffer goes on.
///
/// ```
/// use write_behind::Aggregate;
///
/// /// The longest of all texts, and how many there were.
/// struct Longest {
///     text: String,
///     count: u64,
/// }
///
/// impl Aggregate for Longest {
///     type Item = String;
///     fn start(text: String) -> Self {
///         Longest { text, count: 1 }
///     }
///     fn absorb(&mut self, text: String) {
///         self.merge(Longest::start(text));
///     }
///     fn merge(&mut self, later: Self) {
///         self.count += later.count;
///         if later.text.len() > self.text.len() {
///             self.text = later.text;
///         }
///     }
///     fn weight(&self) -> u64 {
///         self.text.len() as u64
///     }
///     fn start_weight(text: &String) -> u64 {
///         text.len() as u64
///     }
///     fn growth(&self, text: &String) -> u64 {
///         text.len().saturating_sub(self.text.len()) as u64
///     }
/// }
///
/// let mut longest = Longest::start("ab".into());
/// longest.absorb("abc".into());
/// assert_eq!((longest.weight(), longest.count), (3, 2));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "to keep a total of numbers use `Sum<{Self}>`; every value, `Vec<{Self}>`; the latest, `Last<{Self}>`",
    note = "or implement `Aggregate` for a type of your own"
)]
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// What one insert brings.
    type Item: Send;

    /// A new aggregate that holds just `item`.
    fn start(item: Self::Item) -> Self;

    /// Takes one more item in. Called only if [`accepts`](Self::accepts) said yes.
    fn absorb(&mut self, item: Self::Item);

    /// As [`absorb`](Self::absorb), which the provided one calls, and gives back an item that it lets go of,
    /// to be dropped when no lock is held. Worth implementing if an item's drop is slow or calls the buffer:
    /// under the lock that is refused, with a panic or an error.
    ///
    /// ```
    /// use write_behind::{Aggregate, Last};
    ///
    /// let mut frame = Last::start(vec![0; 1_000_000]);
    /// let earlier = frame.displace(vec![1; 1_000_000]);
    /// assert_eq!(earlier, Some(vec![0; 1_000_000])); // the buffer drops it after unlocking
    /// ```
    fn displace(&mut self, item: Self::Item) -> Option<Self::Item> {
        self.absorb(item);
        None
    }

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
    ///
    /// ```
    /// use write_behind::Aggregate;
    ///
    /// /// At most a hundred events in one row.
    /// struct Row(Vec<u64>);
    ///
    /// impl Aggregate for Row {
    ///     type Item = u64;
    ///     fn start(event: u64) -> Self {
    ///         Row(vec![event])
    ///     }
    ///     fn absorb(&mut self, event: u64) {
    ///         self.0.push(event);
    ///     }
    ///     fn merge(&mut self, later: Self) {
    ///         self.0.extend(later.0);
    ///     }
    ///     fn accepts(&self, _: &u64) -> bool {
    ///         self.0.len() < 100
    ///     }
    ///     fn accepts_merge(&self, later: &Self) -> bool {
    ///         self.0.len() + later.0.len() <= 100
    ///     }
    /// }
    /// # let mut row = Row::start(1);
    /// # (2..=100).for_each(|event| row.absorb(event));
    /// # assert!(!row.accepts(&101) && !row.accepts_merge(&Row::start(1)));
    /// ```
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
    /// Default: always. [`accepts`](Self::accepts) shows one.
    fn accepts_merge(&self, later: &Self) -> bool {
        let _ = later;
        true
    }

    /// How many words of 64 bits it is written down in by [`to_words`](Self::to_words), if it can be kept in a
    /// *lane*. Default: 0, it cannot.
    ///
    /// Threads that contend for a key are given lanes: each thread absorbs on its own, without any lock, and what
    /// it has is [merged](Self::merge) with the rest when anybody looks, or takes it. `Sum`, `Count`, `Min`, `Max`
    /// of numbers and tuples of them can be kept so; [the guide](crate::guide::hot_keys) says what that costs.
    /// Implement this for an aggregate of your own, together with [`to_words`](Self::to_words) and
    /// [`from_words`](Self::from_words), if
    ///
    /// - the order of its items makes no difference, nor does it how they are grouped:
    ///   `a.merge(b)` and `b.merge(a)` come to the same;
    /// - its [`weight`](Self::weight) never changes and it is never [ready](Self::is_ready) early;
    /// - it is at most [`LANE_WORDS`](crate::LANE_WORDS) words. With more it is kept as any other.
    ///
    /// ```
    /// use write_behind::Aggregate;
    ///
    /// /// Which of 64 features were used.
    /// #[derive(Debug, PartialEq)]
    /// struct Features(u64);
    ///
    /// impl Aggregate for Features {
    ///     type Item = u8;
    ///     fn start(feature: u8) -> Self {
    ///         Features(1 << (feature % 64))
    ///     }
    ///     fn absorb(&mut self, feature: u8) {
    ///         self.merge(Features::start(feature));
    ///     }
    ///     fn merge(&mut self, later: Self) {
    ///         self.0 |= later.0;
    ///     }
    ///     fn lane_words() -> usize {
    ///         1
    ///     }
    ///     fn to_words(&self, words: &mut [u64]) {
    ///         words[0] = self.0;
    ///     }
    ///     fn from_words(words: &[u64]) -> Option<Self> {
    ///         Some(Features(words[0]))
    ///     }
    /// }
    ///
    /// let mut words = [0];
    /// Features::start(3).to_words(&mut words);
    /// assert_eq!(Features::from_words(&words), Some(Features(8)));
    /// ```
    #[inline]
    fn lane_words() -> usize {
        0
    }

    /// Writes it down in as many words as [`lane_words`](Self::lane_words) says.
    #[inline]
    fn to_words(&self, words: &mut [u64]) {
        let _ = words;
    }

    /// What was written down in these words. Default: `None`, right where [`lane_words`](Self::lane_words) is 0; otherwise it
    /// would be a panic of `insert`.
    #[inline]
    fn from_words(words: &[u64]) -> Option<Self> {
        let _ = words;
        None
    }
}

/// An aggregate of more words than this is not kept in lanes.
pub const LANE_WORDS: usize = 4;

/// Whether an aggregate is kept in lanes where threads contend for its key.
#[inline]
pub(crate) fn fits_lanes<V: Aggregate>() -> bool {
    (1..=LANE_WORDS).contains(&V::lane_words())
}
