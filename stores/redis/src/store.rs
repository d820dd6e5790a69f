use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, IntoConnectionInfo, RedisResult, Script, cmd, pipe};
use write_behind::exactly_once::{AsyncStore, Fate, Reading, StoreError};
use write_behind::{BatchId, FlushBatch, Writer};

use crate::connection::Connection;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::script::WriteScript;

/// Data in Redis with a ledger beside it: give it to [`ExactlyOnce`](write_behind::exactly_once::ExactlyOnce), and that
/// to `start_async`. `W` says how batches are written: [`HashSums`](crate::HashSums), or a
/// [script of your own](crate::OwnScript).
///
/// One connection for all, made anew when it has failed. Timeouts for connecting and for answers are 5 s.
pub struct RedisStore<W> {
    connection: Connection,
    ledger: Ledger,
    write: W,
    register: Script,
    apply: Script,
    void: Script,
    prune: Script,
    retire: Script,
}

impl<W> RedisStore<W> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of Redis, or of `write` if it finds that names and values do not fit together.
    pub async fn connect<K, V>(address: impl IntoConnectionInfo, write: W) -> Result<Self, Error>
    where
        W: WriteScript<K, V>,
    {
        RedisStore::connect_with(address, write, Ledger::default()).await
    }

    /// As [`connect`](Self::connect), with a ledger of another name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with<K, V>(
        address: impl IntoConnectionInfo,
        write: W,
        ledger: Ledger,
    ) -> Result<Self, Error>
    where
        W: WriteScript<K, V>,
    {
        if let Some(problem) = write.problem() {
            return Err(Error::Definition(problem));
        }
        let code = write.code();
        let apply =
            format!("local function write(keys, args)\n{code}\nend\n{}", include_str!("lua/apply.lua"));
        let store = RedisStore {
            connection: Connection::new(redis::Client::open(address)?),
            ledger,
            write,
            register: Script::new(include_str!("lua/register.lua")),
            apply: Script::new(&apply),
            void: Script::new(include_str!("lua/void.lua")),
            prune: Script::new(include_str!("lua/prune.lua")),
            retire: Script::new(include_str!("lua/retire.lua")),
        };
        let mut lent = store.connection.lend().await?;
        let pong = cmd("PING").exec_async(&mut lent.connection).await;
        lent.answered(pong)?;
        Ok(store)
    }

    /// Asks Redis something over the store's connection, which is made anew when it has failed.
    ///
    /// ```no_run
    /// use write_behind_redis::{Error, HashSums, RedisStore};
    ///
    /// # use write_behind::Sum;
    /// # async fn total(store: &RedisStore<HashSums<String, Sum<i64>>>) -> Result<Option<i64>, Error> {
    /// store.ask(async |redis| redis::cmd("HGET").arg("page_views").arg("/home").query_async(redis).await).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of Redis. Any of them closes the connection.
    ///
    /// # Cancel safety
    ///
    /// What was asked may then be done or not, and the connection is closed.
    pub async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let mut lent = self.connection.lend().await?;
        let answer = question(&mut lent.connection).await;
        lent.answered(answer)
    }

    /// Asks Redis something and what became of `batch` at one instant (`MULTI`), for
    /// [`read_exactly_async`](write_behind::exactly_once::read_exactly_async).
    ///
    /// ```no_run
    /// use write_behind::exactly_once::{StoreError, read_exactly_async};
    /// use write_behind::{Sum, SummingBuffer};
    /// use write_behind_redis::{HashSums, RedisStore};
    ///
    /// /// What is in Redis and what is in memory, and nothing twice.
    /// async fn total(
    ///     views: &SummingBuffer<String, i64>,
    ///     store: &RedisStore<HashSums<String, Sum<i64>>>,
    ///     page: &str,
    /// ) -> Result<i64, StoreError> {
    ///     let question = redis::cmd("HGET").arg("page_views").arg(page).to_owned();
    ///     let read = async |batch| Ok(store.read::<Option<i64>>(&question, batch).await?);
    ///     let exact = read_exactly_async(views, page, read).await?;
    ///     Ok(exact.stored.unwrap_or(0) + exact.waiting.iter().map(|views| views.0).sum::<i64>())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn read<T: FromRedisValue>(
        &self,
        question: &Cmd,
        batch: Option<BatchId>,
    ) -> Result<Reading<T>, Error> {
        let (instance, sequence) = batch.map_or((0, 0), |batch| (batch.instance, batch.sequence));
        let mut both = pipe();
        both.atomic().add_command(question.clone()).hget(self.ledger.record(instance), sequence);
        let (value, fate): (T, Option<String>) =
            self.ask(async |redis| both.query_async(redis).await).await?;
        Ok(Reading::new(value, fate.map(|fate| fate.parse()).transpose()?))
    }

    /// Settings under which Redis may lose what it has acknowledged, each as it is and as it would be safe: inserts can
    /// be lost then, and batches forgotten together with their records. Empty if there are none, and where the server
    /// does not tell, as those for hire.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn doubts(&self) -> Result<Vec<String>, Error> {
        let mut doubts = Vec::new();
        for (setting, safe) in
            [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")]
        {
            let mut lent = self.connection.lend().await?;
            let answer = cmd("CONFIG").arg("GET").arg(setting).query_async(&mut lent.connection).await;
            let answer: Vec<String> = match answer {
                Err(error) if error.is_unrecoverable_error() || error.is_io_error() => {
                    return Err(error.into());
                }
                other => lent.answered(Ok(other.unwrap_or_default()))?,
            };
            if let Some(other) = answer.get(1).filter(|value| *value != safe) {
                doubts.push(format!("{setting} is {other}, and not {safe}"));
            }
        }
        Ok(doubts)
    }

    /// Whether a batch counts, for what `shutdown` has returned [in doubt](write_behind::Undelivered::may_be_applied):
    /// if it does not yet it never will, because its id is taken out of use. `epoch`: that of the buffer
    /// ([`writer`](write_behind::Buffer::writer)).
    ///
    /// # Errors
    ///
    /// Those of Redis.
    pub async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, Error> {
        let mut lent = self.connection.lend().await?;
        let mut call = self.void.key(self.ledger.record(batch.instance));
        call.arg(batch.sequence).arg(epoch).arg(self.ledger.kept_for());
        let fate = call.invoke_async(&mut lent.connection).await;
        parse(&lent.answered::<String>(fate)?)
    }

    async fn apply<K, V>(&self, batch: &FlushBatch<K, V>) -> Result<Fate, Error>
    where
        W: WriteScript<K, V>,
    {
        let arguments = self.write.arguments(batch);
        let id = batch.id();
        let mut call = self.apply.key(self.ledger.record(id.instance));
        call.arg(id.sequence).arg(batch.epoch()).arg(self.ledger.kept_for());
        for key in &arguments.keys {
            call.key(key);
        }
        for arg in &arguments.args {
            call.arg(arg.as_slice());
        }
        let mut lent = self.connection.lend().await?;
        let fate = call.invoke_async(&mut lent.connection).await;
        parse(&lent.answered::<String>(fate)?)
    }

    async fn register(&self, writer: Writer) -> Result<u64, Error> {
        let mut call = self.register.key(self.ledger.record(writer.instance));
        call.arg(writer.epoch).arg(self.ledger.kept_for());
        let mut lent = self.connection.lend().await?;
        let highest = call.invoke_async(&mut lent.connection).await;
        lent.answered(highest)
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), Error> {
        let mut call = self.prune.key(self.ledger.record(writer.instance));
        call.arg(settled_below).arg(writer.epoch).arg(self.ledger.kept_for());
        let mut lent = self.connection.lend().await?;
        let pruned = call.invoke_async(&mut lent.connection).await;
        lent.answered(pruned)
    }

    async fn retire(&self, writer: Writer) -> Result<(), Error> {
        let mut call = self.retire.key(self.ledger.record(writer.instance));
        let mut lent = self.connection.lend().await?;
        let retired = call.arg(writer.epoch).invoke_async(&mut lent.connection).await;
        lent.answered(retired)
    }
}

fn parse(fate: &str) -> Result<Fate, Error> {
    match fate {
        "unregistered" => Ok(Fate::Unregistered),
        "settled" => Ok(Fate::Settled),
        other => match other.strip_prefix("superseded ").and_then(|by| by.parse().ok()) {
            Some(by) => Ok(Fate::Superseded { by }),
            None => Ok(other.parse()?),
        },
    }
}

/// Whatever Redis refuses by itself (loading, no memory, disk full, not the master any more) no entry is to blame for;
/// the scripts tell apart what is.
impl<K, V, W> AsyncStore<K, V> for RedisStore<W>
where
    K: Send + Sync,
    V: Send + Sync,
    W: WriteScript<K, V>,
{
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        RedisStore::register(self, writer).await.map_err(StoreError::unknown)
    }

    async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        RedisStore::apply(self, batch).await.map_err(StoreError::unknown)
    }

    async fn void(&self, batch: BatchId, epoch: u64) -> Result<Fate, StoreError> {
        RedisStore::void(self, batch, epoch).await.map_err(StoreError::unknown)
    }

    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        RedisStore::prune(self, writer, settled_below).await.map_err(StoreError::unknown)
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        RedisStore::retire(self, writer).await.map_err(StoreError::unknown)
    }
}

impl<W: fmt::Debug> fmt::Debug for RedisStore<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisStore { ledger, write, .. } = self;
        f.debug_struct("RedisStore").field("ledger", ledger).field("write", write).finish_non_exhaustive()
    }
}
