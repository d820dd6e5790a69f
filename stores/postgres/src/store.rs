use std::fmt;

use deadpool_postgres::{ClientWrapper, Pool};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, IsolationLevel, Row};
use write_behind::exactly_once::{AsyncStore, Fate, Reading, StoreError};
use write_behind::{BatchId, FlushBatch, Writer};

use crate::connections::{Connections, Lent};
use crate::error::{Blame, Error, classify};
use crate::ledger::{Ledger, Statements, in_columns};
use crate::write::{InOneStatement, WriteBatch};

/// Any number that is the same in all processes: they take turns at creating tables, because two that do it at
/// once get in each other's way.
const SETUP_LOCK: i64 = 0x7772_6974_6562_6568;

/// Data in Postgres with a ledger beside it: give it to [`ExactlyOnce`](write_behind::exactly_once::ExactlyOnce), and
/// that to `start_async`. `W` says how batches are written: [`Sums`](crate::Sums), a closure in
/// [`own_sql`](crate::own_sql), or a [`WriteBatch`].
///
/// A call that is cancelled is stopped at the server, and its connection closed. Calls take as many connections at
/// once as the buffer's [`flush_concurrency`](write_behind::Builder::flush_concurrency). Behind a pooler it has to be
/// one that keeps prepared statements.
///
/// The isolation is *read committed*. Where the database's default is a stricter one, a pool of your own needs it to be
/// set, or calls that meet fail and are tried again.
pub struct PostgresStore<W> {
    connections: Connections,
    ledger: Statements,
    write: W,
}

impl<W> PostgresStore<W> {
    /// Connects with a pool of its own, of at most 16 connections, and creates what is missing. Processes may do so
    /// at the same time.
    ///
    /// `sslmode=require` encrypts and verifies the server's certificate (feature `tls`); any other mode is plain text.
    /// Timeouts for connecting and for a connection to be free are 5 s, unless the address says otherwise.
    ///
    /// # Errors
    ///
    /// Those of Postgres, or of `write` if it finds that names and columns do not fit together.
    pub async fn connect<K, V>(address: Config, write: W) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        PostgresStore::connect_with(address, write, Ledger::default()).await
    }

    /// As [`connect`](Self::connect), with a ledger at a place of your choice.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with<K, V>(address: Config, write: W, ledger: Ledger) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        PostgresStore::set_up(Connections::new(address)?, write, &ledger).await
    }

    /// On a pool that others use too. Creates what is missing.
    ///
    /// Give it timeouts: [`flush_timeout`](write_behind::Builder::flush_timeout) cancels a flush, but not what waits
    /// for a connection elsewhere. The statement of a cancelled flush goes on at the server, with its connection
    /// closed, until it is done; the ledger knows what became of it.
    ///
    /// ```no_run
    /// use write_behind::Sum;
    /// use write_behind_postgres::{Ledger, PostgresStore, Sums};
    ///
    /// # async fn start(pool: deadpool_postgres::Pool) -> Result<(), write_behind_postgres::Error> {
    /// let sums = Sums::<String, Sum<i64>>::new("page_views").key("page").value("views");
    /// let store = PostgresStore::on(pool.clone(), sums, Ledger::default()).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn on<K, V>(pool: Pool, write: W, ledger: Ledger) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        PostgresStore::set_up(Connections::of(pool), write, &ledger).await
    }

    async fn set_up<K, V>(connections: Connections, write: W, ledger: &Ledger) -> Result<Self, Error>
    where
        W: WriteBatch<K, V>,
    {
        let store = PostgresStore { connections, ledger: ledger.statements(), write };
        let mut lent = store.connections.lend().await?;
        let created = store.create(&mut lent).await;
        lent.give_back(created)?;
        Ok(store)
    }

    async fn create<K, V>(&self, lent: &mut Lent<'_>) -> Result<(), Error>
    where
        W: WriteBatch<K, V>,
    {
        // Those who have waited for the lock must see what was created meanwhile.
        let step = lent.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        step.execute("select pg_advisory_xact_lock($1)", &[&SETUP_LOCK]).await?;
        self.ledger.set_up(&step).await?;
        self.write.set_up(&step).await?;
        Ok(step.commit().await?)
    }

    /// Lends a connection for work of your own, such as reads. It is closed where the outcome is unknown; and if the call
    /// is cancelled, what it was doing is stopped at the server, so that nothing piles up there.
    ///
    /// ```no_run
    /// use write_behind_postgres::{Error, PostgresStore, Sums};
    ///
    /// # use write_behind::Sum;
    /// # async fn total(store: &PostgresStore<Sums<String, Sum<i64>>>) -> Result<i64, Error> {
    /// store.with_connection(async |client| {
    ///     let query = client.prepare_cached("select views from page_views where page = $1").await?;
    ///     Ok(client.query_one(&query, &[&"/home"]).await?.get(0))
    /// }).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// There is no connection, or those of the work.
    ///
    /// # Cancel safety
    ///
    /// What the work was waiting for may be done or not.
    pub async fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut ClientWrapper) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut lent = self.connections.lend().await?;
        let result = work(&mut lent).await;
        lent.give_back(result)
    }

    /// Reads the one row that a query finds and what became of `batch` in one statement, which is one snapshot: for
    /// [`read_exactly_async`](write_behind::exactly_once::read_exactly_async). If the query finds nothing, all columns of the
    /// row are null.
    ///
    /// ```no_run
    /// use write_behind::exactly_once::{StoreError, read_exactly_async};
    /// use write_behind::{Sum, SummingBuffer};
    /// use write_behind_postgres::{PostgresStore, Sums};
    ///
    /// /// What is in Postgres and what is in memory, and nothing twice.
    /// async fn total(
    ///     views: &SummingBuffer<String, i64>,
    ///     store: &PostgresStore<Sums<String, Sum<i64>>>,
    ///     page: &str,
    /// ) -> Result<i64, StoreError> {
    ///     let query = "select views from page_views where page = $1";
    ///     let read = async |batch| Ok(store.read(query, &[&page], batch).await?);
    ///     let exact = read_exactly_async(views, page, read).await?;
    ///     let stored = exact.stored.get::<_, Option<i64>>(0).unwrap_or(0);
    ///     Ok(stored + exact.waiting.iter().map(|views| views.0).sum::<i64>())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of Postgres, and more than one row.
    pub async fn read(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
        batch: Option<BatchId>,
    ) -> Result<Reading<Row>, Error> {
        let given = parameters.len();
        let statement = self.ledger.beside_fate(query, given + 1, given + 2);
        let (instance, sequence) = batch
            .map(|batch| {
                let (instance, sequence, _) = in_columns(batch, 0);
                (instance, sequence)
            })
            .unzip();
        let mut all = parameters.to_vec();
        all.extend([&instance as &(dyn ToSql + Sync), &sequence]);
        let row = self.with_connection(async |client| {
            let read = client.prepare_cached(&statement).await?;
            Ok(client.query_one(&read, &all).await?)
        });
        let row = row.await?;
        let fate: Option<&str> = row.get(row.len() - 1);
        let fate = fate.map(str::parse).transpose()?;
        Ok(Reading::new(row, fate))
    }

    /// The pool, to read what was written.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.connections.pool
    }

    pub(crate) fn write(&self) -> &W {
        &self.write
    }

    /// Whether a batch counts, for what `shutdown` has returned [in doubt](write_behind::Undelivered::may_be_applied):
    /// if it does not yet it never will, because its id is taken out of use. `epoch`: that of the buffer
    /// ([`writer`](write_behind::Buffer::writer)).
    ///
    /// # Errors
    ///
    /// Those of Postgres.
    pub async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, Error> {
        let lent = self.connections.lend().await?;
        let fate = self.ledger.void(&lent, batch, epoch).await;
        lent.give_back(fate)
    }

    async fn apply<K: Sync, V: Sync>(
        &self,
        lent: &mut Lent<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Fate, Error>
    where
        W: WriteBatch<K, V>,
    {
        if let Some(statement) = self.write.in_one_statement(batch) {
            match self.apply_at_once(lent, batch, &statement).await {
                // Which of them, is found step by step.
                Err(error) if error.blame() == Blame::Data && batch.len() > 1 => {}
                applied => return applied,
            }
        }
        match self.apply_in_steps(lent, batch).await? {
            Some(fate) => Ok(fate),
            None => self.ledger.look(lent, batch.id(), batch.epoch()).await,
        }
    }

    /// Record and data in one statement, which is one transaction without a round trip more, and cannot be left open.
    async fn apply_at_once<K, V>(
        &self,
        lent: &Lent<'_>,
        batch: &FlushBatch<K, V>,
        statement: &InOneStatement<'_>,
    ) -> Result<Fate, Error> {
        let (id, by) = (batch.id(), batch.epoch());
        let (instance, sequence, epoch) = in_columns(id, by);
        let prepared = lent.prepare_cached(&format!("{} {}", self.ledger.applied, statement.sql)).await?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&instance, &sequence, &epoch];
        parameters.extend(statement.arrays.iter().map(|array| array.as_parameter()));
        match lent.execute(&prepared, &parameters).await? {
            0 => self.ledger.look(lent, id, by).await,
            _ => Ok(Fate::Applied),
        }
    }

    /// `None` if the ledger has something else to say.
    async fn apply_in_steps<K: Sync, V: Sync>(
        &self,
        lent: &mut Lent<'_>,
        batch: &FlushBatch<K, V>,
    ) -> Result<Option<Fate>, Error>
    where
        W: WriteBatch<K, V>,
    {
        let mut step =
            lent.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        if !self.ledger.begin(&step, batch.id(), batch.epoch()).await? {
            step.rollback().await?;
            return Ok(None);
        }
        let refused = self.write.write(&mut step, batch).await?;
        let fate = if refused.is_empty() { Fate::Applied } else { Fate::AppliedExcept(refused) };
        if fate != Fate::Applied {
            self.ledger.correct(&step, batch.id(), &fate).await?;
        }
        step.commit().await?;
        Ok(Some(fate))
    }
}

impl<K, V, W> AsyncStore<K, V> for PostgresStore<W>
where
    K: Send + Sync,
    V: Send + Sync,
    W: WriteBatch<K, V>,
{
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let lent = self.connections.lend().await.map_err(StoreError::unknown)?;
        let registered = self.ledger.register(&lent, writer).await;
        lent.give_back(registered).map_err(StoreError::unknown)
    }

    async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        let mut lent = self.connections.lend().await.map_err(StoreError::unknown)?;
        let applied = PostgresStore::apply(self, &mut lent, batch).await;
        lent.give_back(applied).map_err(classify)
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        PostgresStore::void(self, batch, epoch).await.map_err(StoreError::unknown)
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let lent = self.connections.lend().await.map_err(StoreError::unknown)?;
        let pruned = self.ledger.prune(&lent, writer, settled_below).await;
        lent.give_back(pruned).map_err(StoreError::unknown)
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let lent = self.connections.lend().await.map_err(StoreError::unknown)?;
        let retired = self.ledger.retire(&lent, writer).await;
        lent.give_back(retired).map_err(StoreError::unknown)
    }
}

impl<W: fmt::Debug> fmt::Debug for PostgresStore<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("write", &self.write).finish_non_exhaustive()
    }
}
