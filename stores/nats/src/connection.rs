//! The stream and its one consumer, which all processes share, as they are at the server.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    DeleteMessageErrorKind, Info, LastRawMessageErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{Context, Message};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use crate::batch_stream::BatchStream;
use crate::error::Error;

/// How many batches are moved at a time.
const FETCH: usize = 100;
/// When a batch that was not acknowledged is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for an answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Connection {
    jetstream: Context,
    subject: String,
    /// `None` if it is not as this crate creates it: then it may keep messages on purpose.
    tidied: Option<Stream>,
    consumer: PullConsumer,
    /// The number of the last message, if there were any at the start.
    pub(crate) last_waiting: u64,
}

impl Connection {
    /// Creates stream and consumer where they are missing.
    pub(crate) async fn open(jetstream: Context, wanted: BatchStream) -> Result<Self, Error> {
        let stream = jetstream.get_or_create_stream(wanted.config()).await.map_err(Error::nats)?;
        let consumer = stream.get_or_create_consumer(&wanted.consumer, wanted.consumer_config(ACK_WAIT));
        let consumer = consumer.await.map_err(Error::nats)?;
        let Info { config, state, .. } = stream.cached_info();
        let last_waiting = if state.messages > 0 { state.last_sequence } else { 0 };
        let subject = wanted.subject;
        let ours = config.retention == RetentionPolicy::WorkQueue && *config.subjects == [subject.as_str()];
        Ok(Connection { jetstream, subject, tidied: ours.then_some(stream), consumer, last_waiting })
    }

    /// Returns the message's number, when the stream has it. A copy has the number of the first.
    pub(crate) async fn publish(&self, id: &str, payload: Vec<u8>) -> Result<u64, Error> {
        let message = PublishMessage::build().message_id(id).payload(payload.into());
        let stored = async {
            let sent = self.jetstream.send_publish(self.subject.clone(), message).await?;
            sent.await
        };
        match stored.await {
            Ok(stored) => Ok(stored.sequence),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Err(Error::TooLarge(error.into()))
            }
            Err(error) => Err(Error::nats(error)),
        }
    }

    /// What is there, without waiting for more.
    pub(crate) async fn fetch(&self) -> Result<Vec<Message>, Error> {
        let fetch = async {
            let messages = self.consumer.fetch().max_messages(FETCH).messages().await.map_err(Error::nats)?;
            messages.try_collect().await.map_err(Error::Nats)
        };
        timeout(LIMIT, fetch).await.map_err(|_| Error::nats(format!("no answer within {LIMIT:?}")))?
    }

    /// The first message that was acknowledged and is there nevertheless: a server that was killed can
    /// remember that a message was acknowledged and not that it was removed. It never delivers that
    /// message again, and counts it against the stream's bound for ever.
    pub(crate) async fn left_behind(&self) -> Result<Option<StreamMessage>, Error> {
        let Some(stream) = &self.tidied else { return Ok(None) };
        // In this order: what is acknowledged only after this is not taken for left behind.
        let moved = self.moved_up_to().await?;
        let state = stream.get_info().await.map_err(Error::nats)?.state;
        if state.messages == 0 || state.first_sequence > moved {
            return Ok(None);
        }
        match stream.get_raw_message(state.first_sequence).await {
            Ok(message) => Ok(Some(message)),
            // Another process was faster.
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::nats(error)),
        }
    }

    /// False if the server would not: most likely it is gone already.
    pub(crate) async fn remove(&self, message: &StreamMessage) -> Result<bool, Error> {
        let Some(stream) = &self.tidied else { return Ok(false) };
        match stream.delete_message(message.sequence).await {
            Ok(removed) => Ok(removed),
            Err(error) if matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) => Ok(false),
            Err(error) => Err(Error::nats(error)),
        }
    }

    /// All messages up to this number have been acknowledged.
    pub(crate) async fn moved_up_to(&self) -> Result<u64, Error> {
        let info = self.consumer.get_info().await.map_err(Error::nats)?;
        Ok(info.ack_floor.stream_sequence)
    }
}
