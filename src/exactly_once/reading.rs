use std::future::{Future, ready};
use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

use super::error::StoreError;
use super::fate::Fate;
use crate::aggregate::Aggregate;
use crate::batch::BatchId;
use crate::buffer::Buffer;
use crate::driver::user::future::complete;
use crate::key::Key;

/// How often a read begins anew when a flush got in between.
const ATTEMPTS: usize = 100;

/// What a storage says of a key and of the batch in flight, read at one instant.
///
/// ```
/// use write_behind::exactly_once::{Fate, Reading};
///
/// let reading = Reading::new(40, Some(Fate::Applied));
/// assert_eq!(reading.value, 40);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading<T> {
    /// What is stored of the key.
    pub value: T,
    /// What is recorded of the batch; `None` if that is nothing, or if there is no batch to ask for.
    pub fate: Option<Fate>,
}

impl<T> Reading<T> {
    /// Both together. It is for you to see that they are of one instant.
    pub fn new(value: T, fate: Option<Fate>) -> Self {
        Reading { value, fate }
    }

    /// The same with another value.
    ///
    /// ```
    /// use write_behind::exactly_once::Reading;
    ///
    /// let reading = Reading::new(Some("40"), None).map(|value| value.map(str::len));
    /// assert_eq!(reading.value, Some(2));
    /// ```
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        Reading { value: change(self.value), fate: self.fate }
    }
}

/// A key as it is in storage and buffer together, from [`read_exactly`]: nothing is in both or in neither.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exact<T, V> {
    /// What is stored.
    pub stored: T,
    /// What the buffer holds besides, oldest first.
    pub waiting: Vec<V>,
}

/// Reads a key exactly while it is written to and flushed.
///
/// `read` gets the batch in which data of the key is in flight, if there is one, and reads in **one snapshot** of the
/// storage the key and what the ledger says of that batch: the crates for databases have a call for that. It is called
/// again, at most 100 times, if data has moved meanwhile ([`Peek::stayed_until`](crate::Peek::stayed_until)).
///
/// ```
/// use write_behind::exactly_once::{Reading, StoreError, read_exactly};
/// use write_behind::{BatchId, Buffer, Sum, SummingBuffer};
///
/// # fn read(_: &str, _: Option<BatchId>) -> Result<Reading<i64>, StoreError> { Ok(Reading::new(40, None)) }
/// # const _: &str = "
/// fn read(page: &str, batch: Option<BatchId>) -> Result<Reading<i64>, StoreError> { … }
/// # ";
///
/// fn total(views: &SummingBuffer<String, i64>, page: &str) -> Result<i64, StoreError> {
///     let exact = read_exactly(views, page, |batch| read(page, batch))?;
///     Ok(exact.stored + exact.waiting.iter().map(|views| views.0).sum::<i64>())
/// }
///
/// let views = Buffer::builder().start(|_: &String, _: &Sum<i64>| Ok::<(), String>(()))?;
/// views.add("/home", 2)?;
/// assert_eq!(total(&views, "/home").unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of `read`; or a flush got in between each time.
pub fn read_exactly<K, V, S, Q, T>(
    buffer: &Buffer<K, V, S>,
    key: &Q,
    read: impl Fn(Option<BatchId>) -> Result<Reading<T>, StoreError>,
) -> Result<Exact<T, V>, StoreError>
where
    K: Key,
    V: Aggregate + Clone,
    S: BuildHasher,
    Q: ?Sized + Hash + Equivalent<K>,
{
    complete(read_in_turns(buffer, key, |batch| ready(read(batch))))
}

/// As [`read_exactly`], for a storage that is read by `async` calls. Feature `tokio`.
///
/// ```
/// use std::sync::Arc;
/// use write_behind::exactly_once::{Reading, StoreError, read_exactly_async};
/// use write_behind::{BatchId, Sum, SummingBuffer};
///
/// struct Database;
///
/// impl Database {
///     async fn read(&self, page: &str, batch: Option<BatchId>) -> Result<Reading<i64>, StoreError> {
///         // The row and the fate of the batch, in one statement.
/// #         let _ = (page, batch);
/// #         Ok(Reading::new(40, None))
///     }
/// }
///
/// async fn total(views: SummingBuffer<String, i64>, database: Arc<Database>, page: String) -> Result<i64, StoreError> {
///     let exact = read_exactly_async(&views, &page, |batch| database.read(&page, batch)).await?;
///     Ok(exact.stored + exact.waiting.iter().map(|views| views.0).sum::<i64>())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = write_behind::Buffer::builder().start(|_: &String, _: &Sum<i64>| Ok::<(), String>(()))?;
/// let read = tokio::spawn(total(views, Arc::new(Database), "/home".to_owned()));
/// assert_eq!(read.await?.unwrap(), 40);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`read_exactly`].
///
/// # Cancel safety
///
/// It changes nothing.
#[cfg(feature = "tokio")]
pub async fn read_exactly_async<K, V, S, Q, T, F>(
    buffer: &Buffer<K, V, S>,
    key: &Q,
    read: impl Fn(Option<BatchId>) -> F,
) -> Result<Exact<T, V>, StoreError>
where
    K: Key,
    V: Aggregate + Clone,
    S: BuildHasher,
    Q: ?Sized + Hash + Equivalent<K>,
    F: Future<Output = Result<Reading<T>, StoreError>>,
{
    read_in_turns(buffer, key, read).await
}

async fn read_in_turns<K, V, S, Q, T, F>(
    buffer: &Buffer<K, V, S>,
    key: &Q,
    read: impl Fn(Option<BatchId>) -> F,
) -> Result<Exact<T, V>, StoreError>
where
    K: Key,
    V: Aggregate + Clone,
    S: BuildHasher,
    Q: ?Sized + Hash + Equivalent<K>,
    F: Future<Output = Result<Reading<T>, StoreError>>,
{
    for _ in 0..ATTEMPTS {
        let seen = buffer.peek(key);
        let reading = read(seen.in_flight.as_ref().map(|(_, batch)| *batch)).await?;
        let is_stored = match reading.fate {
            None | Some(Fate::Void) => false,
            Some(Fate::Applied) => true,
            // Some of it was refused, which the buffer is about to hear.
            Some(_) => continue,
        };
        if seen.stayed_until(&buffer.peek(key)) {
            let in_flight = seen.in_flight.filter(|_| !is_stored).map(|(data, _)| data);
            let waiting = in_flight.into_iter().chain(seen.pending).collect();
            return Ok(Exact { stored: reading.value, waiting });
        }
    }
    Err("the key moves too fast to be read".into())
}

#[cfg(test)]
mod tests;
