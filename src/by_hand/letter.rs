use crate::batch::{BatchId, Entry, FlushReason};
use crate::dead_letter::{About, DeadLetter, Rescued, Retirement};
use crate::failure::FailureCause;

/// Makes a [`DeadLetter`], to call a sink's `handle_error` with: [`DeadLetter::builder`]. Feature `test-util`.
///
/// ```
/// use write_behind::{BatchId, DeadLetter, FailureCause, Sum};
///
/// let letter = DeadLetter::builder("/home", Sum(3), FailureCause::Panicked("full disk".into()))
///     .count(2)
///     .attempts(4)
///     .batch(BatchId::new(0xa1, 7))
///     .may_be_applied(true)
///     .build();
/// assert_eq!((letter.count(), letter.attempts(), letter.batch().sequence), (2, 4, 7));
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct LetterBuilder<K, V> {
    entry: Entry<K, V>,
    about: About,
}

impl<K, V> LetterBuilder<K, V> {
    /// How many inserts the data holds. Default: 1.
    pub fn count(mut self, count: u64) -> Self {
        self.entry.count = count;
        self
    }

    /// The batch that it was last sent in. Default: the first of instance 0.
    pub fn batch(mut self, batch: BatchId) -> Self {
        self.about.batch = batch;
        self
    }

    /// The epoch that the batch was sent in. Default: 1.
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.about.epoch = epoch;
        self
    }

    /// How many attempts were made. Default: 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.about.attempts = attempts;
        self
    }

    /// Whether an attempt may have been applied after all. Default: no.
    pub fn may_be_applied(mut self, may_be_applied: bool) -> Self {
        self.about.may_be_applied = may_be_applied;
        self
    }

    /// The letter. No buffer waits for what is left in it.
    #[must_use]
    pub fn build(self) -> DeadLetter<K, V> {
        DeadLetter::new(self.entry, self.about, Rescued::default())
    }
}

impl<K, V> DeadLetter<K, V> {
    /// Makes a letter by hand, to call `handle_error` with in a unit test. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::{BatchId, DataBuffer, DeadLetter, FailureCause, FlushContext, FlushError, Verdict};
    ///
    /// struct Audit;
    ///
    /// impl DataBuffer<u32, Vec<&'static str>> for Audit {
    ///     fn handle_flush(&self, _: &u32, _: &Vec<&'static str>, _: &FlushContext) -> Result<(), FlushError> {
    ///         Err("closed for today".into())
    ///     }
    ///
    ///     fn handle_error(&self, letter: DeadLetter<u32, Vec<&'static str>>) -> Verdict<u32, Vec<&'static str>> {
    ///         if letter.may_be_applied() { Verdict::Requeue(letter) } else { Verdict::Keep(letter) }
    ///     }
    /// }
    ///
    /// let cause = FailureCause::Panicked("full disk".into());
    /// let letter = DeadLetter::builder(7, vec!["login"], cause).batch(BatchId::new(0xa1, 3)).may_be_applied(true);
    /// assert!(matches!(Audit.handle_error(letter.build()), Verdict::Requeue(_)));
    /// ```
    pub fn builder(key: K, data: V, cause: FailureCause) -> LetterBuilder<K, V> {
        let about = About { batch: BatchId::new(0, 1), epoch: 1, attempts: 1, cause, may_be_applied: false };
        LetterBuilder { entry: Entry::of(key, data, 1, FlushReason::Deadline, 0), about }
    }
}

impl Retirement {
    /// What [`handle_retired`](crate::DataBuffer::handle_retired) is told, by hand. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::Retirement;
    ///
    /// assert_eq!(Retirement::new(0xa1, 0).undelivered, 0);
    /// ```
    #[must_use]
    pub fn new(instance: u64, undelivered: u64) -> Self {
        Retirement { instance, epoch: 1, undelivered }
    }

    /// The same in another epoch than the first. Feature `test-util`.
    ///
    /// ```
    /// use write_behind::Retirement;
    ///
    /// assert_eq!(Retirement::new(0xa1, 0).in_epoch(3).epoch, 3);
    /// ```
    #[must_use]
    pub fn in_epoch(self, epoch: u64) -> Self {
        Retirement { epoch, ..self }
    }
}
