use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

use crate::aggregate::{Addend, Increment, Sum};
use crate::buffer::Buffer;
use crate::error::InsertError;
use crate::hasher::RandomState;
use crate::key::{Key, ToKey};

/// A buffer that keeps one total per key: a [`Buffer`] of [`Sum`]s, with methods that speak of
/// numbers.
///
/// ```
/// use std::time::Duration;
/// use write_behind::{Buffer, DataBuffer, FlushContext, FlushError, Sum, SummingBuffer};
///
/// struct Totals;
/// impl DataBuffer<String, Sum<i64>> for Totals {
///     fn handle_flush(&self, page: &String, total: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
///         println!("update pages set views = views + {} where page = '{page}'", total.0);
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counters: SummingBuffer<String, i64> = Buffer::builder().start(Totals)?;
/// counters.add("page-7", 2)?; // borrowed key: allocates only when the key is new
/// counters.increment("page-7")?;
/// assert_eq!(counters.total("page-7"), Some(3));
/// counters.shutdown(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
pub type SummingBuffer<K, T, S = RandomState> = Buffer<K, Sum<T>, S>;

impl<K: Key, T: Addend, S: BuildHasher> Buffer<K, Sum<T>, S> {
    /// Adds `amount` to the total of the key, given in a borrowed form ([`ToKey`]).
    ///
    /// ```
    /// use write_behind::{Buffer, InsertErrorKind, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().max_keys(1).start(store)?;
    /// views.add("/home", 3)?;
    /// views.add("/home", -1)?;
    /// assert_eq!(views.total("/home"), Some(2));
    /// let refused = views.add("/news", 5).unwrap_err();
    /// assert_eq!((refused.kind, refused.into_rejected()), (InsertErrorKind::Full, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Buffer::insert`]; the amount is inside.
    #[inline]
    pub fn add<Q>(&self, key: &Q, amount: T) -> Result<(), InsertError<T>>
    where
        Q: ?Sized + ToKey<K>,
    {
        self.insert_ref(key, amount)
    }

    /// Adds one.
    ///
    /// ```
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.increment("/home")?;
    /// assert_eq!(views.total("/home"), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Buffer::insert`].
    #[inline]
    pub fn increment<Q>(&self, key: &Q) -> Result<(), InsertError<T>>
    where
        T: Increment,
        Q: ?Sized + ToKey<K>,
    {
        self.add(key, T::ONE)
    }

    /// What the buffer holds of the key, pending and in flight together; zero if nothing.
    /// [`peek`](Self::peek) tells the two apart. `None` if the sum does not fit into `T`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, Sum};
    /// # fn store(_: &String, _: &Sum<i64>) -> std::io::Result<()> { Ok(()) }
    ///
    /// let views = Buffer::builder().start(store)?;
    /// views.add("/home", 3)?;
    /// assert_eq!(views.total("/home"), Some(3));
    /// views.flush_and_wait("/home", Duration::from_secs(10))?;
    /// assert_eq!(views.total("/home"), Some(0)); // the rest is in the database
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn total<Q: ?Sized + Hash + Equivalent<K>>(&self, key: &Q) -> Option<T> {
        let held = self.peek(key);
        let mut amounts = held.iter().map(|sum| sum.0);
        amounts.try_fold(T::ZERO, T::checked_add)
    }
}
