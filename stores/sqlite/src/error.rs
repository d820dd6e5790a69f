use rusqlite::ErrorCode;
use write_behind::exactly_once::StoreError;

/// Why something was not done. Any error of rusqlite turns into it by `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite has refused, or could not do it.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// SQL of your own has found an entry of the batch to blame: [`Error::rejected`].
    #[error("{0}")]
    Rejected(Box<dyn std::error::Error + Send + Sync>),
    /// Names and columns do not fit together; the text says which.
    #[error("{0}")]
    Definition(String),
    /// The ledger holds what no ledger has written.
    #[error("the ledger: {0}")]
    Ledger(#[from] write_behind::exactly_once::ParseFateError),
}

impl Error {
    /// For SQL of your own: an entry of the batch is to blame and would be again. The transaction is rolled back,
    /// and the batch is halved until that entry is alone and given up. To refuse certain entries and apply the
    /// others in one go, name them in the result of [`WriteBatch::write`](crate::WriteBatch::write) instead.
    ///
    /// ```
    /// use write_behind_sqlite::Error;
    ///
    /// assert_eq!(Error::rejected("a page has a name").to_string(), "a page has a name");
    /// ```
    pub fn rejected(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Rejected(reason.into())
    }

    /// Whether the data is to blame, and not the file, the disk or another process.
    pub(crate) fn is_fault_of_data(&self) -> bool {
        match self {
            Error::Rejected(_) => true,
            Error::Sqlite(error) => of_data(error),
            Error::Definition(_) | Error::Ledger(_) => false,
        }
    }
}

fn of_data(error: &rusqlite::Error) -> bool {
    match error {
        // What cannot be bound: a number that does not fit.
        rusqlite::Error::ToSqlConversionFailure(_) => true,
        // The only way for an expression to say that a sum does not fit.
        rusqlite::Error::SqliteFailure(_, Some(text)) if text == "integer overflow" => true,
        error => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        ),
    }
}

/// What is known of a transaction that has ended with this error: SQLite rolls back what was not committed.
pub(crate) fn classify(error: Error) -> StoreError {
    if error.is_fault_of_data() { StoreError::rejected(error) } else { StoreError::unknown(error) }
}
