//! Batches are published to a JetStream stream, and moved to Postgres from there, each once.
//!
//! A flush needs NATS and not Postgres. A batch is a message with the batch's id as message id, so that the stream leaves
//! out a copy that comes within its duplicate window. What makes it count once is the ledger in Postgres, in which the id
//! is recorded in the transaction that applies it: copies that come later, and messages that are delivered again because
//! an acknowledgement was lost, count once as well.
//!
//! In Postgres batches go to the log table, where no total can overflow: there is no way back to who published it. Reads
//! see what has been moved, so between its flush and its move an increment is in neither memory nor Postgres, and the
//! total lags by it.

mod stream;

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::ServerAddr;
use async_trait::async_trait;
use tokio::time::sleep;
use write_behind::exactly_once::{AsyncStore, Fate, StoreError, StoreErrorKind};
use write_behind::{BatchId, FlushBatch, Sum, Writer};

use self::stream::BatchStream;
use crate::args::Args;
use crate::counters::{Counters, Reading};
use crate::log_table::Log;
use crate::{Ended, cannot, postgres, serve};

type Batch = FlushBatch<String, Sum<i64>>;

pub(crate) type Address = ServerAddr;

/// Does not connect yet.
pub(crate) fn address(url: &str) -> Result<Address, String> {
    url.parse().map_err(|error: std::io::Error| format!("not a valid NATS address: {error}"))
}

pub(crate) async fn run(
    server: Address,
    database: postgres::Address,
    args: &Args,
    listener: TcpListener,
) -> Ended {
    // Forgets nobody: batches of those long dead may still be in the stream.
    let ledger = postgres::ledger().forget_after(100 * 365 * DAY);
    let log = Log::open(database, ledger).await?;
    let stream = BatchStream::open(server).await.map_err(cannot)?;
    // With a journal this instance has been there before, and what it published then may still wait to be moved.
    let state = State { published: stream.last_waiting(), ..State::default() };
    let nats = Arc::new(Nats { log, stream, state: Mutex::new(state) });
    serve(Arc::clone(&nats), nats, args, listener).await
}

const DAY: Duration = Duration::from_secs(86_400);
/// How often to look, when there is nothing else to do, for what a server that was killed left behind.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether all has been moved.
const PAUSE: Duration = Duration::from_millis(20);

struct Nats {
    log: Log,
    stream: BatchStream,
    /// Guards what is known of both; never held while one of them works.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number in the stream of the last batch published here, or by others before the start.
    published: u64,
    /// The batches that were to be made void, which must not be published any more.
    voided: BTreeSet<BatchId>,
    /// An instance whose batches below a sequence can be pruned when the stream has been moved so far.
    prunable: Option<(u64, u64, u64)>,
    /// When instances were last made known to the ledger.
    known_at: HashMap<u64, Instant>,
    /// When nothing was found that was left behind.
    looked_back_at: Option<Instant>,
}

impl Nats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            message.ack().await?;
        }
        Ok(messages.len())
    }

    /// Moves a message that was acknowledged and is there nevertheless. Most likely its batch was applied; if so it is
    /// not applied again, and if not, it is not lost.
    async fn move_left_behind(&self) -> Result<usize, StoreError> {
        if self.state().looked_back_at.is_some_and(|looked| looked.elapsed() < LOOK_BACK) {
            return Ok(0);
        }
        if let Some(message) = self.stream.left_behind().await? {
            self.move_one(&message.payload, "it was acknowledged, and its batch settled long ago").await?;
            if self.stream.remove(&message).await? {
                return Ok(1);
            }
        }
        self.state().looked_back_at = Some(Instant::now());
        Ok(0)
    }

    /// Whatever is left out is told in full: it will not come again. `settled` says what it means that the ledger has
    /// forgotten its batch.
    async fn move_one(&self, payload: &[u8], settled: &str) -> Result<(), StoreError> {
        let why = match serde_json::from_slice::<Batch>(payload) {
            Err(error) => format!("it is no batch: {error}"),
            Ok(batch) => match self.log.store.apply(&batch).await {
                Ok(Fate::Settled | Fate::Unregistered | Fate::Superseded { .. }) => settled.to_owned(),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == StoreErrorKind::Rejected => error.to_string(),
                Err(error) => return Err(error),
            },
        };
        let content = String::from_utf8_lossy(payload);
        tracing::warn!(why, %content, "a message from NATS is left out");
        Ok(())
    }
}

/// What the stream has accepted counts, whoever has taken over from its sender meanwhile: behind it there is one epoch.
const EPOCH: u64 = 1;

fn behind(instance: u64) -> Writer {
    Writer::new(instance, EPOCH)
}

impl AsyncStore<String, Sum<i64>> for Nats {
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let epoch =
            AsyncStore::<String, Sum<i64>>::register(&*self.log.store, behind(writer.instance)).await?;
        self.state().known_at.insert(writer.instance, Instant::now());
        Ok(epoch)
    }

    /// `Applied` when the stream has it.
    async fn apply(&self, batch: &Batch) -> Result<Fate, StoreError> {
        let id = batch.id();
        let (voided, known) = {
            let state = self.state();
            (
                state.voided.contains(&id),
                state.known_at.get(&id.instance).is_some_and(|at| at.elapsed() < DAY),
            )
        };
        if voided {
            return self.log.store.void(id, EPOCH).await;
        }
        if !known {
            self.register(batch.writer()).await?;
        }
        let number = self.stream.publish(&id.to_string(), serde_json::to_string(batch)?).await?;
        let mut state = self.state();
        state.published = state.published.max(number);
        Ok(Fate::Applied)
    }

    async fn void(&self, batch: BatchId, _: u64) -> Result<Fate, StoreError> {
        self.state().voided.insert(batch);
        self.log.store.void(batch, EPOCH).await
    }

    /// Only when what is settled has also been moved, or it would be refused when its turn comes.
    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let (instance, below, published) = {
            let mut state = self.state();
            let now = (writer.instance, settled_below, state.published);
            *state.prunable.get_or_insert(now)
        };
        if self.stream.moved_up_to().await? < published {
            return Ok(());
        }
        {
            let mut state = self.state();
            state.prunable = None;
            state.voided.retain(|batch| batch.instance != instance || batch.sequence >= below);
        }
        AsyncStore::<String, Sum<i64>>::prune(&*self.log.store, behind(instance), below).await
    }

    /// Waits until what this process has published is moved, by whomever.
    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let published = self.state().published;
        while self.stream.moved_up_to().await? < published {
            if self.move_some().await? == 0 {
                sleep(PAUSE).await;
            }
        }
        AsyncStore::<String, Sum<i64>>::retire(&*self.log.store, behind(writer.instance)).await
    }
}

#[async_trait]
impl Counters for Nats {
    async fn read(&self, key: &str, batch: Option<BatchId>) -> Result<Reading, StoreError> {
        self.log.read(key, batch).await
    }

    async fn add(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.log.add(key, value).await
    }

    async fn fold(&self) -> Result<Option<Duration>, StoreError> {
        let moved = self.move_some().await;
        // Also while NATS is away.
        let pause = self.log.fold().await?;
        Ok(if moved? > 0 { Some(Duration::ZERO) } else { pause })
    }

    async fn fold_all(&self) -> Result<(), StoreError> {
        self.log.fold_all().await
    }
}
