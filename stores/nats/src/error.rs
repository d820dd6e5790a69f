/// Why a stream could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// NATS has refused, or could not be reached, or did not answer.
    #[error("NATS: {0}")]
    Nats(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A message is larger than NATS takes.
    #[error("NATS: {0}")]
    TooLarge(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn nats(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Nats(error.into())
    }
}
