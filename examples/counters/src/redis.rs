//! Counters and their ledger in Redis.
//!
//! - `{counters}:totals`: a hash with the totals.
//! - `{counters}:writer:…`: a hash for each process: the number below which its batches are settled, and
//!   the fates of those that are not yet pruned, about as many as in SQL. It is written by the script
//!   that adds the batch, and expires 90 days after the last one; from then on all its batches are
//!   refused. So a batch counts once however late a copy of it arrives.
//! - `{counters}:letter:…`: a dead letter that was replayed; expires after 90 days.
//!
//! This is as durable as Redis is: see [`RedisStore::open`].

mod connection;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Client, Script, ScriptInvocation, pipe};

use self::connection::Connection;
use crate::store::{Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, describe};

pub(crate) type Address = Client;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    Client::open(url).map_err(|error| describe("not a valid Redis address", &error))
}

/// Connects.
pub(crate) async fn open(address: Address) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(RedisStore::open(address).await?))
}

const TOTALS: &str = "{counters}:totals";
const KEPT_FOR: i64 = 90 * 86_400;

struct RedisStore {
    connection: Connection,
    apply: Script,
    write: Script,
    prune: Script,
    replay: Script,
}

impl RedisStore {
    /// Connects. Says so if Redis is set up such that it may lose what it has acknowledged,
    /// for then increments can be lost and batches, with their records, forgotten. Nobody is asked to
    /// change it: it may be what is wanted.
    async fn open(client: Client) -> Result<Self, StoreError> {
        let connection = Connection::new(client);
        let ping = async |redis: &mut MultiplexedConnection| redis::cmd("PING").exec_async(redis).await;
        connection.ask(ping).await?;
        for (setting, safe) in
            [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")]
        {
            let question = async |redis: &mut MultiplexedConnection| {
                redis::cmd("CONFIG").arg("GET").arg(setting).query_async(redis).await
            };
            // Servers for hire do not answer this; their owners know what they keep.
            let answer: Result<Vec<String>, StoreError> = connection.ask(question).await;
            if let Some(other) = answer.unwrap_or_default().get(1).filter(|value| *value != safe) {
                tracing::warn!("Redis may lose counters: {setting} is {other}, and not {safe}");
            }
        }
        let with_add = |code: &str| Script::new(&[include_str!("redis/add.lua"), code].concat());
        Ok(RedisStore {
            connection,
            apply: with_add(include_str!("redis/apply.lua")),
            write: with_add(include_str!("redis/write.lua")),
            prune: Script::new(include_str!("redis/prune.lua")),
            replay: with_add(include_str!("redis/replay.lua")),
        })
    }

    /// Runs a script that may find fault with a key.
    async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Vec<String>, StoreError> {
        let question = async |redis: &mut MultiplexedConnection| script.invoke_async(redis).await;
        let answer: Vec<String> = self.connection.ask(question).await?;
        match answer.as_slice() {
            [fault, key, why] if fault == "data" => Err(StoreError::Data(format!("Redis: {key:?}: {why}"))),
            [trouble, _, why] if trouble == "trouble" => {
                Err(StoreError::Unavailable(format!("Redis: {why}")))
            }
            _ => Ok(answer),
        }
    }

    /// `None` if the ledger does not know the writer, or has settled the batch.
    async fn try_apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Option<Fate>, StoreError> {
        let mut script = self.apply.key(TOTALS);
        script.key(record(batch.writer)).arg(batch.sequence).arg(KEPT_FOR);
        for (key, delta) in deltas.keys.iter().zip(&deltas.values) {
            script.arg(key).arg(delta);
        }
        Ok(self.run(&script).await?.first().and_then(|fate| parse(fate)))
    }
}

fn record(writer: Writer) -> String {
    format!("{{counters}}:writer:{writer}")
}

fn parse(fate: &str) -> Option<Fate> {
    match fate {
        "applied" => Some(Fate::Applied),
        "void" => Some(Fate::Void),
        _ => None,
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn register(&self, writer: Writer) -> Result<(), StoreError> {
        let mut register = pipe();
        let writer = record(writer);
        register.atomic().hset_nx(&writer, "settled_below", 0).expire(&writer, KEPT_FOR);
        let question = async |redis: &mut MultiplexedConnection| register.exec_async(redis).await;
        self.connection.ask(question).await
    }

    async fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        if let Some(fate) = self.try_apply(batch, deltas).await? {
            return Ok(fate);
        }
        // Expired after 90 quiet days.
        self.register(batch.writer).await?;
        let refused = || StoreError::Unavailable(format!("the ledger refuses batch {batch}"));
        self.try_apply(batch, deltas).await?.ok_or_else(refused)
    }

    async fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        let mut void = pipe();
        let writer = record(batch.writer);
        void.atomic().hset_nx(&writer, batch.sequence, "void").ignore();
        void.expire(&writer, KEPT_FOR).ignore().hget(&writer, batch.sequence);
        let question = async |redis: &mut MultiplexedConnection| void.query_async(redis).await;
        let (fate,): (String,) = self.connection.ask(question).await?;
        parse(&fate).ok_or_else(|| StoreError::Unavailable(format!("the fate of batch {batch} is {fate:?}")))
    }

    async fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        let mut script = self.prune.key(record(writer));
        script.arg(settled_below).arg(KEPT_FOR);
        let question = async |redis: &mut MultiplexedConnection| script.invoke_async(redis).await;
        self.connection.ask(question).await
    }

    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let writer = record(writer);
        let question =
            async |redis: &mut MultiplexedConnection| redis::cmd("DEL").arg(writer).exec_async(redis).await;
        self.connection.ask(question).await
    }

    async fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        let (writer, sequence) = batch.map_or((0, 0), |batch| (batch.writer, batch.sequence));
        let mut read = pipe();
        read.atomic().hget(TOTALS, key).hget(record(writer), sequence);
        let question = async |redis: &mut MultiplexedConnection| read.query_async(redis).await;
        let (value, fate): (Option<i64>, Option<String>) = self.connection.ask(question).await?;
        let applied = fate.is_some_and(|fate| parse(&fate) == Some(Fate::Applied));
        Ok(Reading { value: value.map(i128::from), applied })
    }

    /// Redis adds in one step, so there is nothing to read before.
    async fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.run(self.write.key(TOTALS).arg(key).arg(value)).await.map(drop)
    }

    async fn replay(&self, letters: Vec<Replay>) -> Result<Vec<Replayed>, StoreError> {
        let mut script = self.replay.key(TOTALS);
        script.arg(KEPT_FOR);
        for Replay { id, key, value, batch } in &letters {
            let writer = batch.map_or(0, |batch| batch.writer);
            let sequence = batch.map_or_else(String::new, |batch| batch.sequence.to_string());
            script.key(format!("{{counters}}:letter:{id}")).key(record(writer));
            script.arg(key).arg(value).arg(sequence);
        }
        let outcomes = self.run(&script).await?;
        let replayed = outcomes.iter().map(|outcome| match outcome.as_str() {
            "added" => Replayed::Added,
            "was there" => Replayed::WasThere,
            _ => Replayed::CannotTell,
        });
        Ok(replayed.collect())
    }
}
