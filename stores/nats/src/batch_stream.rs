use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

/// The stream that batches are published to, and the consumer by which they are moved: their names and bounds.
///
/// They are created if they are missing. Those that are there are used as they are, and then only the names count.
///
/// ```
/// use std::time::Duration;
/// use write_behind_nats::BatchStream;
///
/// let stream = BatchStream::new("views").max_batches(10_000).duplicate_window(Duration::from_secs(600));
/// # let _ = stream;
/// ```
#[derive(Debug, Clone)]
pub struct BatchStream {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) consumer: String,
    max_batches: u32,
    duplicate_window: Duration,
    replicas: usize,
}

impl BatchStream {
    /// A stream of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        BatchStream {
            subject: format!("{name}.batches"),
            name,
            consumer: "mover".to_owned(),
            max_batches: 100_000,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
        }
    }

    /// The subject that batches are published to. Default: the stream's name and `.batches`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// The durable consumer that all who move batches share. Default: `mover`.
    #[must_use]
    pub fn consumer(mut self, name: impl Into<String>) -> Self {
        self.consumer = name.into();
        self
    }

    /// How many batches the stream takes. Beyond that flushes fail, and data waits in the buffer. Default: 100 000.
    #[must_use]
    pub fn max_batches(mut self, batches: u32) -> Self {
        self.max_batches = batches;
        self
    }

    /// For how long the stream itself leaves out copies of a batch. A copy that comes later waits in the stream too, and
    /// is left out by the ledger of the store behind. Default: two minutes.
    #[must_use]
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.duplicate_window = window;
        self
    }

    /// How many servers of a cluster keep the stream. Default: 1.
    #[must_use]
    pub fn replicas(mut self, servers: usize) -> Self {
        self.replicas = servers;
        self
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            subjects: vec![self.subject.clone()],
            // What is acknowledged is gone.
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: self.max_batches.into(),
            storage: StorageType::File,
            duplicate_window: self.duplicate_window,
            num_replicas: self.replicas,
            ..Config::default()
        }
    }

    pub(crate) fn consumer_config(&self, ack_wait: Duration) -> pull::Config {
        pull::Config {
            durable_name: Some(self.consumer.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            ..pull::Config::default()
        }
    }
}
