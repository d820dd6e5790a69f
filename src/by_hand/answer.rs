use crate::failure::{Effect, Failure, FlushError, Scope};

/// What an error says, for unit tests of sinks. Where it names entries, each of these tells whether it holds
/// for all of those. Feature `test-util`.
impl FlushError {
    /// Whether the outcome is [unknown](Self::unknown).
    ///
    /// ```
    /// use write_behind::FlushError;
    ///
    /// assert!(FlushError::from("connection reset").is_unknown());
    /// ```
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.all(|failure| failure.effect == Effect::Unknown)
    }

    /// Whether this attempt was [not applied](Self::not_applied), while an earlier one may have been.
    ///
    /// ```
    /// use write_behind::FlushError;
    ///
    /// assert!(FlushError::not_applied("rolled back").is_not_applied());
    /// ```
    #[must_use]
    pub fn is_not_applied(&self) -> bool {
        self.all(|failure| failure.effect == Effect::NotApplied)
    }

    /// Whether no attempt was or will be [applied](Self::never_applied).
    ///
    /// ```
    /// use write_behind::FlushError;
    ///
    /// assert!(FlushError::never_applied("recorded as void").is_never_applied());
    /// ```
    #[must_use]
    pub fn is_never_applied(&self) -> bool {
        self.all(|failure| failure.effect == Effect::NeverApplied)
    }

    /// Whether it [ends the attempts](Self::give_up).
    ///
    /// ```
    /// use write_behind::FlushError;
    ///
    /// assert!(FlushError::from("no such table").give_up().gives_up());
    /// ```
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.all(|failure| failure.hopeless)
    }

    /// The places of the [entries](Self::entries) that failed while the others are done, in the order in which
    /// they were named. Empty if everything failed.
    ///
    /// ```
    /// use write_behind::{FlushBatch, FlushError};
    ///
    /// let batch = FlushBatch::builder(0xa1, 7).entry("a", 1, 1).entry("b", 2, 1).build();
    /// let error = FlushError::entries([batch.entries()[1].failed("no such page")]).unwrap_err();
    /// assert_eq!(error.failed_entries(), [1]);
    /// assert!(FlushError::from("all of it").failed_entries().is_empty());
    /// ```
    #[must_use]
    pub fn failed_entries(&self) -> Vec<usize> {
        match &self.scope {
            Scope::Batch(_) => Vec::new(),
            Scope::Entries(failed) => failed.iter().map(|entry| entry.index as usize).collect(),
        }
    }

    fn all(&self, holds: impl Fn(&Failure) -> bool) -> bool {
        match &self.scope {
            Scope::Batch(failure) => holds(failure),
            Scope::Entries(failed) => failed.iter().all(|entry| holds(&entry.failure)),
        }
    }
}
