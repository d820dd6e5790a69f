//! The stream and its one consumer, which all processes share.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    self, DeleteMessageErrorKind, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType,
    Stream,
};
use async_nats::jetstream::{self, Context, Message};
use async_nats::{ConnectOptions, ServerAddr};
use futures_util::TryStreamExt;
use tokio::time::timeout;
use write_behind::exactly_once::StoreError;

const STREAM: &str = "counters";
const SUBJECT: &str = "counters.batches";
const CONSUMER: &str = "totals";
/// How many batches the stream takes. Beyond that flushes fail and increments wait in memory.
const MAX_BATCHES: i64 = 100_000;
/// For how long the stream itself leaves out copies of a batch.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// How many batches are moved at a time.
const FETCH: usize = 100;
/// When a batch that was not acknowledged is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) struct BatchStream {
    jetstream: Context,
    /// `None` if it is not as this program creates it: then it may keep messages on purpose.
    tidied: Option<Stream>,
    consumer: PullConsumer,
    last_waiting: u64,
}

impl BatchStream {
    /// Connects, and creates stream and consumer where they are missing; others are used as they are.
    pub(super) async fn open(server: ServerAddr) -> Result<Self, StoreError> {
        let client = ConnectOptions::new().name("counters").connection_timeout(LIMIT).connect(server);
        let mut jetstream = jetstream::new(client.await?);
        jetstream.set_timeout(LIMIT);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            // What is acknowledged is gone.
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: MAX_BATCHES,
            storage: StorageType::File,
            duplicate_window: DUPLICATE_WINDOW,
            ..stream::Config::default()
        };
        let stream = jetstream.get_or_create_stream(config).await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(CONSUMER, config).await?;
        let stream::Info { config, state, .. } = stream.cached_info();
        let ours = config.retention == RetentionPolicy::WorkQueue && config.subjects == [SUBJECT];
        let last_waiting = if state.messages > 0 { state.last_sequence } else { 0 };
        Ok(BatchStream { jetstream, tidied: ours.then_some(stream), consumer, last_waiting })
    }

    /// The number of the last message, if there were any at the start.
    pub(super) fn last_waiting(&self) -> u64 {
        self.last_waiting
    }

    /// Returns the message's number, when the stream has it. A copy has the number of the first.
    pub(super) async fn publish(&self, id: &str, payload: String) -> Result<u64, StoreError> {
        let message = PublishMessage::build().message_id(id).payload(payload.into());
        let stored = self.jetstream.send_publish(SUBJECT, message).await.map_err(refused)?;
        Ok(stored.await.map_err(refused)?.sequence)
    }

    /// What is there, without waiting for more.
    pub(super) async fn fetch(&self) -> Result<Vec<Message>, StoreError> {
        let fetch = async {
            let messages = self.consumer.fetch().max_messages(FETCH).messages().await?;
            messages.try_collect().await.map_err(StoreError::from)
        };
        timeout(LIMIT, fetch).await.map_err(|_| format!("NATS: no answer within {LIMIT:?}"))?
    }

    /// The first message that was acknowledged and is there nevertheless: a server that was killed can
    /// remember that a message was acknowledged and not that it was removed. It never delivers that
    /// message again, and counts it against `MAX_BATCHES` for ever.
    pub(super) async fn left_behind(&self) -> Result<Option<StreamMessage>, StoreError> {
        let Some(stream) = &self.tidied else { return Ok(None) };
        // In this order: what is acknowledged only after this is not taken for left behind.
        let moved = self.moved_up_to().await?;
        let state = stream.get_info().await?.state;
        if state.messages == 0 || state.first_sequence > moved {
            return Ok(None);
        }
        match stream.get_raw_message(state.first_sequence).await {
            Ok(message) => Ok(Some(message)),
            // Another process was faster.
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// False if the server would not: most likely it is gone already.
    pub(super) async fn remove(&self, message: &StreamMessage) -> Result<bool, StoreError> {
        let Some(stream) = &self.tidied else { return Ok(false) };
        match stream.delete_message(message.sequence).await {
            Ok(removed) => Ok(removed),
            Err(error) if matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// All messages up to this number have been acknowledged.
    pub(super) async fn moved_up_to(&self) -> Result<u64, StoreError> {
        let info = self.consumer.get_info().await?;
        Ok(info.ack_floor.stream_sequence)
    }
}

/// Too large is the batch's own fault: halves may fit.
fn refused(error: PublishError) -> StoreError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => StoreError::rejected(error),
        _ => error.into(),
    }
}
