use redis::RedisError;
use write_behind::exactly_once::ParseFateError;

/// Why something was not done. Any error of `redis` turns into it by `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis has refused, or could not be reached.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// Hashes and values do not fit together; the text says how.
    #[error("{0}")]
    Definition(String),
    /// The ledger holds what no ledger has written.
    #[error("the ledger: {0}")]
    Ledger(#[from] ParseFateError),
}
