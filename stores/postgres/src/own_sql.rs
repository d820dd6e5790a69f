use std::fmt;
use std::future::Future;
use std::pin::Pin;

use deadpool_postgres::Transaction;
use write_behind::FlushBatch;
use write_behind::exactly_once::Rejection;

use crate::error::Error;
use crate::write::WriteBatch;

type Written<'a> = Pin<Box<dyn Future<Output = Result<Vec<Rejection>, Error>> + Send + 'a>>;

/// SQL of your own as a closure: [`own_sql`].
pub struct OwnSql<F>(F);

/// Makes a [`WriteBatch`] of a closure that gets the open transaction and the batch, and boxes its future. What it
/// returns, and what its errors mean: [`WriteBatch::write`].
///
/// ```no_run
/// use write_behind::{Buffer, Last, exactly_once::ExactlyOnce};
/// use write_behind_postgres::{PostgresStore, own_sql};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let write = own_sql::<i32, Last<f64>, _>(|transaction, batch| {
///     Box::pin(async move {
///         for entry in batch.sorted() {
///             let update = "update devices set temperature = $2 where id = $1";
///             let update = transaction.prepare_cached(update).await?;
///             transaction.execute(&update, &[entry.key(), &entry.data().0]).await?;
///         }
///         Ok(Vec::new())
///     })
/// });
/// let store = PostgresStore::connect("postgres://localhost/shop".parse()?, write).await?;
/// let devices = Buffer::builder().start_async(ExactlyOnce::new(store))?;
/// devices.insert(17, 20.5)?;
/// devices.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
pub fn own_sql<K, V, F>(write: F) -> OwnSql<F>
where
    F: for<'a> Fn(&'a mut Transaction<'_>, &'a FlushBatch<K, V>) -> Written<'a> + Send + Sync + 'static,
{
    OwnSql(write)
}

impl<K: Send + Sync, V: Send + Sync, F> WriteBatch<K, V> for OwnSql<F>
where
    F: for<'a> Fn(&'a mut Transaction<'_>, &'a FlushBatch<K, V>) -> Written<'a> + Send + Sync + 'static,
{
    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Vec<Rejection>, Error> {
        (self.0)(transaction, batch).await
    }
}

impl<F> fmt::Debug for OwnSql<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSql").finish_non_exhaustive()
    }
}
