use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, ToServerAddrs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use write_behind::exactly_once::{AsyncStore, Fate, StoreError, StoreErrorKind};
use write_behind::{BatchId, DeadLetter, FlushBatch, Verdict, Writer};

use crate::batch_stream::BatchStream;
use crate::connection::{Connection, LIMIT};
use crate::error::Error;

/// How often an instance that publishes is made known again to the ledger behind.
const DAY: Duration = Duration::from_secs(86_400);
/// How often to look, when there is nothing else to do, for what a server that was killed left behind.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether all has been moved.
const PAUSE: Duration = Duration::from_millis(20);

/// A JetStream stream in front of another store: give it to [`ExactlyOnce`](write_behind::exactly_once::ExactlyOnce), and
/// that to `start_async`. A flush publishes its batch; [`move_some`](Self::move_some) moves batches to the store behind.
///
/// A batch is one message of JSON (keys and data are what serde makes of them), and `apply` says that it is applied when
/// the stream has it. A batch that is larger than NATS takes, 1 MB unless the server says otherwise, is halved.
///
/// **The store behind may not refuse**: when it is asked, nobody is there any more to give the entry up. What it refuses,
/// and what is no batch, is [left out](Self::on_left_out), and told. Choose a table that takes all there is, such as a log.
///
/// **The ledger behind may not forget** an instance while its batches wait in the stream, or they are left out too. Have its
/// `forget_after` longer than that; instances that publish are made known to it once a day.
///
/// *Epochs.* What the stream has accepted counts, also if its process was replaced by another one of its instance before it
/// is moved. So the store behind is only ever told of the epoch 1, and **a process that was replaced is not refused**. With
/// a journal its successor finds what it had, and what both send under different ids counts twice: the old process has to be
/// gone, which the journal's lock on its file sees to on one machine.
pub struct NatsStore<K, V, S> {
    connection: Connection,
    behind: S,
    left_out: Box<dyn Fn(LeftOut<'_>) + Send + Sync>,
    /// Guards what is known of both; never held while one of them works.
    state: Mutex<State>,
    types: PhantomData<fn(K, V)>,
}

/// A message that was taken from the stream and not applied. It does not come again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LeftOut<'a> {
    /// Why, for people.
    pub why: &'a str,
    /// All of it: JSON, if it is a batch.
    pub payload: &'a [u8],
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

impl<K, V, S> NatsStore<K, V, S> {
    /// Connects, and creates stream and consumer where they are missing. Timeouts for connecting and for answers are 5 s;
    /// a connection that is lost is made anew.
    ///
    /// # Errors
    ///
    /// Those of NATS.
    pub async fn connect(server: impl ToServerAddrs, stream: BatchStream, behind: S) -> Result<Self, Error> {
        let options = ConnectOptions::new().name(&stream.name).connection_timeout(LIMIT);
        let client = options.connect(server).await.map_err(Error::nats)?;
        let mut jetstream = jetstream::new(client);
        jetstream.set_timeout(LIMIT);
        NatsStore::on(jetstream, stream, behind).await
    }

    /// On a connection that others use too, with credentials, TLS and timeouts that are yours.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn on(jetstream: Context, stream: BatchStream, behind: S) -> Result<Self, Error> {
        let connection = Connection::open(jetstream, stream).await?;
        // An instance that was here before may have published what still waits to be moved.
        let state = State { published: connection.last_waiting, ..State::default() };
        let state = Mutex::new(state);
        Ok(NatsStore { connection, behind, left_out: Box::new(warn), state, types: PhantomData })
    }

    /// What is done about a message that is left out, before it is acknowledged. Default: a warning of `tracing` with
    /// all of its content.
    #[must_use]
    pub fn on_left_out(mut self, handler: impl Fn(LeftOut<'_>) + Send + Sync + 'static) -> Self {
        self.left_out = Box::new(handler);
        self
    }

    /// The store that batches are moved to.
    #[must_use]
    pub fn behind(&self) -> &S {
        &self.behind
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, S> NatsStore<K, V, S>
where
    K: DeserializeOwned + Send + Sync,
    V: DeserializeOwned + Send + Sync,
    S: AsyncStore<K, V>,
{
    /// Moves up to 100 batches to the store behind, and returns how many; 0 if there are none, and then it is time for a
    /// pause. Any number of tasks and processes may do so at the same time: each batch is given to one of them, and to
    /// another one if it is not acknowledged within 5 s.
    ///
    /// # Errors
    ///
    /// Those of NATS and of the store behind. What was not moved comes again.
    ///
    /// # Cancel safety
    ///
    /// What was not acknowledged comes again, and counts once.
    pub async fn move_some(&self) -> Result<usize, StoreError> {
        let messages = self.connection.fetch().await?;
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
        if let Some(message) = self.connection.left_behind().await? {
            self.move_one(&message.payload, "it was acknowledged, and its batch settled long ago").await?;
            if self.connection.remove(&message).await? {
                return Ok(1);
            }
        }
        self.state().looked_back_at = Some(Instant::now());
        Ok(0)
    }

    /// `settled` says what it means that the ledger has forgotten its batch.
    async fn move_one(&self, payload: &[u8], settled: &str) -> Result<(), StoreError> {
        let why = match serde_json::from_slice::<FlushBatch<K, V>>(payload) {
            Err(error) => format!("it is no batch: {error}"),
            Ok(batch) => match self.behind.apply(&batch).await {
                Ok(Fate::Settled | Fate::Unregistered | Fate::Superseded { .. }) => settled.to_owned(),
                Ok(Fate::AppliedExcept(refused)) => format!("entries of it were refused: {refused:?}"),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == StoreErrorKind::Rejected => error.to_string(),
                Err(error) => return Err(error),
            },
        };
        (self.left_out)(LeftOut { why: &why, payload });
        Ok(())
    }
}

fn warn(LeftOut { why, payload }: LeftOut<'_>) {
    let content = String::from_utf8_lossy(payload);
    tracing::warn!(why, %content, "a message from NATS is left out");
}

/// What the stream has accepted counts, whoever has taken over from its sender meanwhile: behind it there is one epoch.
const EPOCH: u64 = 1;

fn behind(instance: u64) -> Writer {
    Writer::new(instance, EPOCH)
}

impl<K, V, S> AsyncStore<K, V> for NatsStore<K, V, S>
where
    K: Serialize + DeserializeOwned + Send + Sync,
    V: Serialize + DeserializeOwned + Send + Sync,
    S: AsyncStore<K, V>,
{
    async fn register(&self, writer: Writer) -> Result<u64, StoreError> {
        let epoch = self.behind.register(behind(writer.instance)).await?;
        self.state().known_at.insert(writer.instance, Instant::now());
        Ok(epoch)
    }

    /// `Applied` when the stream has it.
    async fn apply(&self, batch: &FlushBatch<K, V>) -> Result<Fate, StoreError> {
        let id = batch.id();
        let (voided, known) = {
            let state = self.state();
            let known_at = state.known_at.get(&id.instance);
            (state.voided.contains(&id), known_at.is_some_and(|at| at.elapsed() < DAY))
        };
        if voided {
            return self.behind.void(id, EPOCH).await;
        }
        if !known {
            self.register(batch.writer()).await?;
        }
        let payload = serde_json::to_vec(batch)?;
        let number =
            self.connection.publish(&id.to_string(), payload).await.map_err(|error| match error {
                // The batch's own fault: halves may fit.
                Error::TooLarge(_) => StoreError::rejected(error),
                Error::Nats(_) => StoreError::unknown(error),
            })?;
        let mut state = self.state();
        state.published = state.published.max(number);
        Ok(Fate::Applied)
    }

    async fn void(&self, batch: BatchId, _: u64) -> Result<Fate, StoreError> {
        self.state().voided.insert(batch);
        self.behind.void(batch, EPOCH).await
    }

    /// Only when what is settled has also been moved, or it would be refused when its turn comes.
    async fn prune(&self, writer: Writer, settled_below: u64) -> Result<(), StoreError> {
        let (instance, below, published) = {
            let mut state = self.state();
            let now = (writer.instance, settled_below, state.published);
            *state.prunable.get_or_insert(now)
        };
        if self.connection.moved_up_to().await? < published {
            return Ok(());
        }
        {
            let mut state = self.state();
            state.prunable = None;
            state.voided.retain(|batch| batch.instance != instance || batch.sequence >= below);
        }
        self.behind.prune(behind(instance), below).await
    }

    /// Waits until what this process has published is moved, by whomever.
    async fn retire(&self, writer: Writer) -> Result<(), StoreError> {
        let published = self.state().published;
        while self.connection.moved_up_to().await? < published {
            if self.move_some().await? == 0 {
                sleep(PAUSE).await;
            }
        }
        self.behind.retire(behind(writer.instance)).await
    }

    async fn handle_error(&self, letter: DeadLetter<K, V>) -> Verdict<K, V> {
        self.behind.handle_error(letter).await
    }

    fn handle_shed(&self, key: K, data: V) {
        self.behind.handle_shed(key, data);
    }
}

impl<K, V, S: fmt::Debug> fmt::Debug for NatsStore<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore").field("behind", &self.behind).finish_non_exhaustive()
    }
}
