use std::future::{Future, ready};

use deadpool_postgres::Transaction;
use write_behind::FlushBatch;
use write_behind::exactly_once::Rejection;

use crate::columns::Array;
use crate::error::Error;

/// How a batch is written, inside the transaction that records it: [`Sums`](crate::Sums), a closure in
/// [`own_sql`](crate::own_sql), or SQL of your own. Write plain `async fn`s.
///
/// ```no_run
/// use deadpool_postgres::Transaction;
/// use write_behind::exactly_once::{ExactlyOnce, Rejection};
/// use write_behind::{Buffer, FlushBatch};
/// use write_behind_postgres::{Error, PostgresStore, WriteBatch};
///
/// struct Log;
///
/// impl WriteBatch<String, Vec<String>> for Log {
///     async fn write(
///         &self,
///         transaction: &mut Transaction<'_>,
///         batch: &FlushBatch<String, Vec<String>>,
///     ) -> Result<Vec<Rejection>, Error> {
///         let (mut users, mut actions) = (Vec::new(), Vec::new());
///         for entry in batch.sorted() {
///             users.extend(entry.data().iter().map(|_| entry.key()));
///             actions.extend(entry.data());
///         }
///         let insert = "insert into log (actor, action) select * from unnest($1::text[], $2::text[])";
///         let insert = transaction.prepare_cached(insert).await?;
///         transaction.execute(&insert, &[&users, &actions]).await?;
///         Ok(Vec::new())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://localhost/shop".parse()?, Log).await?;
/// let log = Buffer::builder().start_async(ExactlyOnce::new(store))?;
/// log.insert("ada".to_owned(), "login".to_owned())?;
/// log.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
pub trait WriteBatch<K, V>: Send + Sync + 'static {
    /// Creates what is missing, in a transaction of its own, whenever a store is made. Of several who do so at the
    /// same time one goes after the other. Provided: does nothing.
    ///
    /// # Errors
    ///
    /// Those of Postgres; then there is no store.
    fn set_up(&self, transaction: &Transaction<'_>) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = transaction;
        ready(Ok(()))
    }

    /// Writes a batch. Returns which entries it has left out because they are refused for good: they are given up,
    /// and all others count.
    ///
    /// The transaction has been begun, *read committed*, and is committed or rolled back by the store. Write rows in
    /// the order of their keys ([`sorted`](FlushBatch::sorted)), or two batches that meet in two rows deadlock.
    ///
    /// # Errors
    ///
    /// Everything is rolled back. Errors of the classes 22, 23 and 54 (data, constraints, limits) and
    /// [`Error::rejected`] mean that an entry is to blame: the batch is halved until it is alone and given up. Those
    /// of class 40 (deadlock, serialization) mean that others were in the way. Anything else means that the identical
    /// batch is tried again.
    ///
    /// # Cancel safety
    ///
    /// May be dropped wherever it awaits: the transaction is then rolled back.
    fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<K, V>,
    ) -> impl Future<Output = Result<Vec<Rejection>, Error>> + Send;

    /// The same in one statement, if it can be.
    #[doc(hidden)]
    fn in_one_statement<'a>(&self, batch: &'a FlushBatch<K, V>) -> Option<InOneStatement<'a>> {
        let _ = batch;
        None
    }
}

/// What follows after a list of common table expressions, and its parameters from `$4` on.
#[doc(hidden)]
#[derive(Debug)]
pub struct InOneStatement<'a> {
    pub(crate) sql: String,
    pub(crate) arrays: Vec<Array<'a>>,
}
