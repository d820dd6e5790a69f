use std::time::Duration;

/// The records that make a batch count once, a hash for each instance: what they are called, and for how long they
/// remember instances that are never heard of again. All stores of one Redis may share a name.
///
/// ```
/// use std::time::Duration;
/// use write_behind_redis::Ledger;
///
/// let ledger = Ledger::new().name("{shop}:ledger").forget_after(Duration::from_secs(30 * 86_400));
/// # let _ = ledger;
/// ```
#[derive(Debug, Clone)]
pub struct Ledger {
    name: String,
    forget_after: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger { name: "write_behind".to_owned(), forget_after: Duration::from_secs(90 * 86_400) }
    }
}

impl Ledger {
    /// The default ledger.
    #[must_use]
    pub fn new() -> Self {
        Ledger::default()
    }

    /// What the records' keys begin with; `:` and the instance follow. Default: `write_behind`. For Redis Cluster give
    /// it the hash tag of the data, such as `{shop}`: one script works on both.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// A record expires when its instance has shown no sign of life for so long. Default: 90 days. **A batch that is in
    /// doubt for longer stays undelivered**: choose more than the longest outage that is to be survived. At least a
    /// second.
    ///
    /// Instances that were started again, with a higher epoch than 1, are never forgotten for that: they may come back.
    #[must_use]
    pub fn forget_after(mut self, silence: Duration) -> Self {
        self.forget_after = silence;
        self
    }

    /// The key of an instance's record, for a read that asks at one instant for a total and whether the batch in flight is
    /// in it: a hash, whose field of the sequence's name holds a text that [`Fate`](write_behind::exactly_once::Fate)
    /// reads.
    ///
    /// ```
    /// use write_behind_redis::Ledger;
    ///
    /// assert_eq!(Ledger::new().record(0xa1), "write_behind:00000000000000a1");
    /// ```
    #[must_use]
    pub fn record(&self, instance: u64) -> String {
        format!("{}:{instance:016x}", self.name)
    }

    /// In seconds.
    pub(crate) fn kept_for(&self) -> i64 {
        i64::try_from(self.forget_after.as_secs()).unwrap_or(i64::MAX / 2).clamp(1, i64::MAX / 2_000)
    }
}
