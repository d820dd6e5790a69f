use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::Severity;
use write_behind::exactly_once::{ParseFateError, StoreError};

/// Why something was not done. Any error of `tokio_postgres` turns into it by `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Postgres has refused, or could not be reached.
    #[error("{}", in_words(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// There was no connection to be had.
    #[error("Postgres: {0}")]
    Pool(String),
    /// SQL of your own has found an entry of the batch to blame: [`Error::rejected`].
    #[error("{0}")]
    Rejected(Box<dyn std::error::Error + Send + Sync>),
    /// Names and columns do not fit together, or what was asked for is not compiled in; the text says which.
    #[error("{0}")]
    Definition(String),
    /// The ledger holds what no ledger has written.
    #[error("the ledger: {0}")]
    Ledger(#[from] ParseFateError),
}

/// What is known of a transaction that has ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Rolled back, and an entry of the batch, or its size, is to blame.
    Data,
    /// Rolled back because others were in the way.
    Others,
    /// It may have been done or not. Also all that no entry is to blame for: connection refused, server shutting
    /// down, disk full, read-only. A batch must stay whole then, or an outage would grind it to single keys.
    Unknown,
}

impl Error {
    /// For SQL of your own: an entry of the batch is to blame and would be again. The transaction is rolled back,
    /// and the batch is halved until that entry is alone and given up. To refuse certain entries and apply the
    /// others in one go, name them in the result of [`WriteBatch::write`](crate::WriteBatch::write) instead.
    ///
    /// ```
    /// use write_behind_postgres::Error;
    ///
    /// assert_eq!(Error::rejected("a page has a name").to_string(), "a page has a name");
    /// ```
    pub fn rejected(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Rejected(reason.into())
    }

    pub(crate) fn blame(&self) -> Blame {
        match self {
            Error::Rejected(_) => Blame::Data,
            Error::Postgres(error) => blame(error),
            Error::Pool(_) | Error::Definition(_) | Error::Ledger(_) => Blame::Unknown,
        }
    }
}

fn blame(error: &tokio_postgres::Error) -> Blame {
    let answer = error.as_db_error();
    // A server that gives up the connection does not always say what became of the transaction.
    let rolled_back = answer.filter(|answer| matches!(answer.parsed_severity(), Some(Severity::Error)));
    match rolled_back.map(|answer| &answer.code().code()[..2]) {
        // Data exception, integrity constraint, program limit.
        Some("22" | "23" | "54") => Blame::Data,
        // Deadlock, serialization failure.
        Some("40") => Blame::Others,
        _ => Blame::Unknown,
    }
}

pub(crate) fn classify(error: Error) -> StoreError {
    match error.blame() {
        Blame::Data => StoreError::rejected(error),
        Blame::Others => StoreError::rolled_back(error),
        Blame::Unknown => StoreError::unknown(error),
    }
}

/// The client's own text leaves out what the server has said.
fn in_words(error: &tokio_postgres::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut line = "Postgres".to_owned();
    for cause in causes.map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            error => Error::Pool(error.to_string()),
        }
    }
}
