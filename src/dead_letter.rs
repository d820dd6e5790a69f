//! What becomes of data that could not be flushed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{BatchId, Entry};
use crate::failure::FailureCause;
use crate::writer::Writer;

/// What [`DataBuffer::handle_error`](crate::DataBuffer::handle_error) decides about a key.
///
/// ```
/// use write_behind::{DeadLetter, Sum, Verdict};
/// # fn bury(_: &String, total: i64) -> std::io::Result<()> {
/// #     if total > 0 { Ok(()) } else { Err(std::io::Error::other("full disk")) }
/// # }
///
/// fn handle_error(letter: DeadLetter<String, Sum<i64>>) -> Verdict<String, Sum<i64>> {
///     match bury(letter.key(), letter.data().0) {
///         Ok(()) => Verdict::Forget, // it is on the disk now
///         Err(_) => Verdict::Keep(letter),
///     }
/// }
/// # let letter = |total| {
/// #     DeadLetter::builder(String::new(), Sum(total), write_behind::FailureCause::Panicked("".into())).build()
/// # };
/// # assert!(matches!(handle_error(letter(1)), Verdict::Forget));
/// # assert!(matches!(handle_error(letter(0)), Verdict::Keep(_)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict<K, V> {
    /// Keep the data as undelivered: counted in [`Stats::undelivered`](crate::Stats::undelivered), told to
    /// observers, offered again by [`Buffer::retry_undelivered`](crate::Buffer::retry_undelivered) and
    /// returned by [`Buffer::shutdown`](crate::Buffer::shutdown). Its memory counts towards the bounds
    /// until then. What the provided `handle_error` does.
    Keep(DeadLetter<K, V>),
    /// Put the data back. **It may count twice** if the sink records no ids and an attempt
    /// [may have been applied](DeadLetter::may_be_applied).
    ///
    /// It has fresh attempts, an interval and jitter from now: it cannot loop hot. Where no attempt was
    /// applied it is merged with newer data of its key, before it. Where one may have been, the identical
    /// batch is sent again under the same id, so that a sink that records ids counts it once. That takes the
    /// whole batch: if `handle_error` did not say `Requeue` for all its keys, those for which it did are kept
    /// as [undelivered](Self::Keep) instead. During shutdown nothing is put back: it is kept.
    Requeue(DeadLetter<K, V>),
    /// **Loses the data** unless you have stored it elsewhere: the buffer forgets it, and counts it in
    /// [`Stats::gave_up`](crate::Stats::gave_up).
    Forget,
}

/// A key and its data whose attempts are spent, handed to
/// [`DataBuffer::handle_error`](crate::DataBuffer::handle_error).
///
/// Dropping it loses nothing by itself: what becomes of the data is what the [`Verdict`] says.
///
/// With a journal it may come again after a crash, with the same [batch](Self::batch), key and data.
///
/// ```
/// use write_behind::{DeadLetter, Sum};
///
/// fn report(letter: &DeadLetter<String, Sum<i64>>) -> String {
///     let (page, views, attempts) = (letter.key(), letter.data().0, letter.attempts());
///     let doubt = letter.may_be_applied().then(|| format!(", may be in batch {}", letter.batch()));
///     format!("{page} {views:+} not stored after {attempts} attempts: {}{}", letter.cause(), doubt.unwrap_or_default())
/// }
/// # let cause = write_behind::FailureCause::Panicked("away".into());
/// # let letter = DeadLetter::builder("/home".to_owned(), Sum(3), cause).attempts(4).may_be_applied(true).build();
/// # assert!(report(&letter).starts_with("/home +3 not stored after 4 attempts: the callback panicked: away, may"));
/// ```
#[derive(Debug)]
pub struct DeadLetter<K, V> {
    entry: Option<Entry<K, V>>,
    about: About,
    rescued: Rescued<K, V>,
}

/// What is known about data that was given up.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) batch: BatchId,
    pub(crate) epoch: u64,
    pub(crate) attempts: u32,
    pub(crate) cause: FailureCause,
    pub(crate) may_be_applied: bool,
}

/// Where an entry is to be found that `handle_error` did not take out.
pub(crate) type Rescued<K, V> = Arc<Mutex<Option<Entry<K, V>>>>;

impl<K, V> DeadLetter<K, V> {
    pub(crate) fn new(entry: Entry<K, V>, about: About, rescued: Rescued<K, V>) -> Self {
        DeadLetter { entry: Some(entry), about, rescued }
    }

    fn entry(&self) -> &Entry<K, V> {
        self.entry.as_ref().expect("the entry leaves only with self")
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.entry().key
    }

    /// The data.
    pub fn data(&self) -> &V {
        &self.entry().data
    }

    /// Its place in the batch that was given up.
    pub(crate) fn place(&self) -> usize {
        self.entry().index as usize
    }

    /// It has turned out that no attempt was or will be applied.
    pub(crate) fn dispel_doubt(&mut self) {
        self.about.may_be_applied = false;
    }

    /// How many inserts the data holds.
    pub fn count(&self) -> u64 {
        self.entry().count
    }

    /// The id of the batch that it was last sent in: where an attempt
    /// [may have been applied](Self::may_be_applied), this is what tells whether it was. If the sink
    /// [named this key alone](crate::FlushError::entries) as failed, the id that its next attempt would
    /// have had.
    pub fn batch(&self) -> BatchId {
        self.about.batch
    }

    /// The [epoch](crate::FlushBatch::epoch) that the batch was sent in.
    pub fn epoch(&self) -> u64 {
        self.about.epoch
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer { instance: self.about.batch.instance, epoch: self.about.epoch }
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.about.attempts
    }

    /// Why the last attempt failed.
    pub fn cause(&self) -> &FailureCause {
        &self.about.cause
    }

    /// Whether an attempt may have been applied after all. If so, applying the data by other means can
    /// count it twice: look first whether [`batch`](Self::batch) is there.
    pub fn may_be_applied(&self) -> bool {
        self.about.may_be_applied
    }

    /// **Takes key and data out of the buffer's hands**: what you do not store is lost, by a panic too. All that
    /// is left to say is [`Verdict::Forget`].
    ///
    /// ```
    /// use std::sync::mpsc::Sender;
    /// use write_behind::{DeadLetter, Verdict};
    ///
    /// type Events = Vec<u64>;
    ///
    /// fn pass_on(letter: DeadLetter<String, Events>, others: &Sender<(String, Events)>) -> Verdict<String, Events> {
    ///     others.send(letter.into_parts()).expect("the receiver lives as long as the program");
    ///     Verdict::Forget
    /// }
    /// # let (sender, receiver) = std::sync::mpsc::channel();
    /// # let cause = write_behind::FailureCause::Panicked("".into());
    /// # let _ = pass_on(DeadLetter::builder("a".to_owned(), vec![1], cause).build(), &sender);
    /// # assert_eq!(receiver.recv().unwrap(), ("a".to_owned(), vec![1]));
    /// ```
    pub fn into_parts(mut self) -> (K, V) {
        let entry = self.entry.take().expect("the entry leaves only with self");
        (entry.key, entry.data)
    }
}

impl<K, V> Drop for DeadLetter<K, V> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            *self.rescued.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        }
    }
}

/// Tells a sink that its buffer is over: [`DataBuffer::handle_retired`](crate::DataBuffer::handle_retired). Not with a
/// journal, whose next start goes on with the same instance.
///
/// ```
/// use std::collections::HashSet;
/// use write_behind::{BatchId, Retirement};
///
/// fn forget(applied: &mut HashSet<BatchId>, retirement: &Retirement) {
///     if retirement.undelivered == 0 {
///         applied.retain(|id| id.instance != retirement.instance);
///     }
/// }
/// # let mut applied = HashSet::from([BatchId::new(1, 1), BatchId::new(2, 1)]);
/// # forget(&mut applied, &Retirement::new(1, 0));
/// # assert_eq!(applied.len(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retirement {
    /// The instance whose batches will be sent no more ([`BatchId::instance`]).
    pub instance: u64,
    /// Its [epoch](crate::FlushBatch::epoch). If a higher one is known the buffer was replaced before it was over, and
    /// nothing must be forgotten.
    pub epoch: u64,
    /// How many inserts were not delivered, whose batches somebody may still want to look for. If it is
    /// zero, everything that was recorded about this instance can be forgotten.
    pub undelivered: u64,
}

impl Retirement {
    pub(crate) fn writer(&self) -> Writer {
        Writer { instance: self.instance, epoch: self.epoch }
    }
}
