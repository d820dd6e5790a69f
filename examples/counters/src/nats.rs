//! Batches are published to a JetStream stream, and moved to Postgres from there, each once.
//!
//! A flush needs NATS and not Postgres. A batch is a message with the batch's id as message id, so that
//! the stream leaves out a copy that comes within its duplicate window. What makes it count once is the
//! ledger in Postgres, in which the id is recorded in the transaction that applies it: copies that come
//! later, and messages that are delivered again because an acknowledgement was lost, count once as well.
//!
//! In Postgres batches go to the log table, where no total can overflow: there is no way back to who
//! published it. Reads see what has been moved, so between its flush and its move an increment is in
//! neither memory nor Postgres, and the total lags by it.

mod message;
mod stream;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::ServerAddr;
use async_trait::async_trait;
use tokio::time::sleep;

use self::stream::BatchStream;
use crate::postgres::{self, LOG_TABLE, PostgresStore};
use crate::store::{Deltas, Fate, LedgerId, Reading, Replay, Replayed, Store, StoreError, Writer, describe};

pub(crate) type Address = ServerAddr;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    url.parse().map_err(|error: std::io::Error| describe("not a valid NATS address", &error))
}

/// Connects to both and creates what is missing.
pub(crate) async fn open(server: Address, postgres: postgres::Address) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(NatsStore::open(server, postgres).await?))
}

/// How long the ledger's knowledge of this process is relied upon.
const DAY: Duration = Duration::from_secs(86_400);
/// How often to look, when there is nothing else to do, for what a server that was killed left behind.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether all has been moved.
const PAUSE: Duration = Duration::from_millis(20);

struct NatsStore {
    postgres: PostgresStore,
    stream: BatchStream,
    /// The number in the stream of the last batch published here. Raised before the buffer takes the
    /// batch for settled, whose locks order the two.
    published: AtomicU64,
    /// Guards the batches that were to be made void, which must not be published any more.
    voided: Mutex<BTreeSet<i64>>,
    /// Guards what can be pruned when the stream has been moved so far.
    prunable: Mutex<Option<Prunable>>,
    /// Guards when this process was last made known to the ledger.
    known_at: Mutex<Option<Instant>>,
    /// Guards when nothing was found that was left behind.
    looked_back_at: Mutex<Option<Instant>>,
}

/// All batches below `settled_below` are in the stream at `published` or before, or never will be.
#[derive(Clone, Copy)]
struct Prunable {
    settled_below: i64,
    published: u64,
}

impl NatsStore {
    async fn open(server: Address, postgres: postgres::Address) -> Result<Self, StoreError> {
        Ok(NatsStore {
            postgres: PostgresStore::open(postgres, LOG_TABLE).await?,
            stream: BatchStream::open(server).await?,
            published: AtomicU64::new(0),
            voided: Mutex::default(),
            prunable: Mutex::default(),
            known_at: Mutex::default(),
            looked_back_at: Mutex::default(),
        })
    }

    /// Moves some batches to Postgres, and returns how many.
    async fn move_some(&self) -> Result<usize, StoreError> {
        let messages = self.stream.fetch().await?;
        if messages.is_empty() {
            return self.move_left_behind().await;
        }
        for message in &messages {
            self.move_one(&message.payload, "its batch was settled long ago").await?;
            // If this is lost the message comes again.
            message.ack().await.map_err(|error| StoreError::Unavailable(format!("NATS: {error}")))?;
        }
        Ok(messages.len())
    }

    /// Moves a message that was acknowledged and is there nevertheless. Most likely its batch was applied;
    /// if so it is not applied again, and if not, it is not lost.
    async fn move_left_behind(&self) -> Result<usize, StoreError> {
        let looked = *self.looked_back_at.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_BACK) {
            return Ok(0);
        }
        if let Some(message) = self.stream.left_behind().await? {
            self.move_one(&message.payload, "it was acknowledged, and its batch settled long ago").await?;
            if self.stream.remove(&message).await? {
                return Ok(1);
            }
        }
        *self.looked_back_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(0)
    }

    /// Whatever is left out is told in full: it will not come again. `settled` says what it means that
    /// the ledger has forgotten its batch.
    async fn move_one(&self, payload: &[u8], settled: &str) -> Result<(), StoreError> {
        let left_out = |why: &str| {
            let content = String::from_utf8_lossy(payload);
            tracing::warn!(why, %content, "a message from NATS is left out");
        };
        let batch = match message::parse(payload) {
            Ok(batch) => batch,
            Err(why) => {
                left_out(&why);
                return Ok(());
            }
        };
        match self.postgres.try_apply(batch.id, &batch.deltas()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                left_out(settled);
                Ok(())
            }
            Err(StoreError::Data(why)) => {
                left_out(&why);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Before a process publishes, the ledger knows it, and not only just still.
    async fn stay_known(&self, writer: Writer) -> Result<(), StoreError> {
        let known_at = *self.known_at.lock().unwrap_or_else(PoisonError::into_inner);
        if known_at.is_none_or(|known_at| known_at.elapsed() > DAY) {
            self.register(writer).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Store for NatsStore {
    /// Forgets nobody: batches of those long dead may still be in the stream.
    async fn register(&self, writer: Writer) -> Result<(), StoreError> {
        self.postgres.enlist(writer).await?;
        *self.known_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// `Applied` when the stream has it.
    async fn apply(&self, batch: LedgerId, deltas: &Deltas<'_>) -> Result<Fate, StoreError> {
        if self.voided.lock().unwrap_or_else(PoisonError::into_inner).contains(&batch.sequence) {
            return self.postgres.void(batch).await;
        }
        self.stay_known(batch.writer).await?;
        let number = self.stream.publish(&batch.to_string(), message::compose(batch, deltas)).await?;
        self.published.fetch_max(number, Ordering::AcqRel);
        Ok(Fate::Applied)
    }

    async fn void(&self, batch: LedgerId) -> Result<Fate, StoreError> {
        self.voided.lock().unwrap_or_else(PoisonError::into_inner).insert(batch.sequence);
        self.postgres.void(batch).await
    }

    /// Only when what is settled has also been moved, or it would be refused when its turn comes.
    async fn prune(&self, writer: Writer, settled_below: i64) -> Result<(), StoreError> {
        let published = self.published.load(Ordering::Acquire);
        let now = Prunable { settled_below, published };
        let next = *self.prunable.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        if self.stream.moved_up_to().await? < next.published {
            return Ok(());
        }
        *self.prunable.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.voided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|&sequence| sequence >= next.settled_below);
        self.postgres.prune(writer, next.settled_below).await
    }

    /// Waits until what this process has published is moved, by whomever.
    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let published = self.published.load(Ordering::Acquire);
        while self.stream.moved_up_to().await? < published {
            if self.move_some().await? == 0 {
                sleep(PAUSE).await;
            }
        }
        self.postgres.retire(writer).await
    }

    async fn read(&self, key: &str, batch: Option<LedgerId>) -> Result<Reading, StoreError> {
        self.postgres.read(key, batch).await
    }

    async fn read_then_write(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.postgres.read_then_write(key, value).await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        let moved = self.move_some().await;
        // Also while NATS is away.
        let pause = self.postgres.fold().await?;
        Ok(if moved? > 0 { Some(Duration::ZERO) } else { pause })
    }

    async fn replay(&self, letters: Vec<Replay>) -> Result<Vec<Replayed>, StoreError> {
        self.postgres.replay(letters).await
    }
}
