#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::failure::{Effect, Failure};

/// While a buffer drains, the first wait is at most this long, and each further one at most twice as
/// long: shutdown does not wait for a backoff that was meant for longer outages, and does not hammer the
/// storage either.
const DRAINING_DELAY: Duration = Duration::from_millis(50);

/// The longest wait while a buffer drains.
const DRAINING_CAP: Duration = Duration::from_secs(1);

/// How often a failed flush is tried again, and how long to wait in between.
///
/// The wait before attempt *n + 1* is `delay × factor^(n − 1)`, at most `cap`, plus a uniformly
/// random part of up to `jitter` times that (so that many processes do not come back in step; see
/// "Exponential Backoff and Jitter", AWS Architecture Blog, 2015). Waiting is done by the schedule
/// and holds no worker.
///
/// Defaults: without end, first wait 1 s, factor 2, cap 30 s, jitter 0.25. What is never given up is
/// never lost: it fills the buffer up to its bounds until the storage is back. While the buffer shuts
/// down attempts are not counted, and waits are at most 50 ms, 100 ms and so on up to 1 s, until
/// shutdown's deadline.
///
/// ```
/// use std::time::Duration;
/// use write_behind::RetryPolicy;
///
/// let quick = RetryPolicy::new().delay(Duration::from_millis(100)).cap(Duration::from_secs(5));
/// // What DataBuffer 0.1 for Elixir does: three retries, a second apart.
/// let three_retries = RetryPolicy::fixed(4, Duration::from_secs(1));
/// # let _ = (quick, three_retries);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RetryPolicy {
    attempts: Option<u32>,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    delay: Duration,
    factor: f64,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    cap: Duration,
    jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: None,
            delay: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.25,
        }
    }
}

impl RetryPolicy {
    /// The default policy.
    ///
    /// ```
    /// use write_behind::RetryPolicy;
    ///
    /// assert_eq!(RetryPolicy::new(), RetryPolicy::default());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        RetryPolicy::default()
    }

    /// **Ends the attempts after the first**: a failure goes to `handle_error` at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::{Buffer, ManualClock, RetryPolicy, Sum};
    ///
    /// let clock = ManualClock::new();
    /// let broken = |_: &String, _: &Sum<i64>| Err("no such table");
    /// let views = Buffer::builder().retry(RetryPolicy::never()).start_inline(broken, &clock)?;
    /// views.add("/home", 1)?;
    /// clock.advance(Duration::from_secs(5));
    /// assert_eq!((views.stats().failures, views.stats().undelivered), (1, 1)); // kept, as nobody wrote `handle_error`
    /// # views.shutdown(Duration::ZERO).unwrap_err();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn never() -> Self {
        RetryPolicy::default().attempts(1)
    }

    /// **Ends the attempts** after so many, the first included, which are `delay` apart.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::RetryPolicy;
    ///
    /// // DataBuffer 0.1: three retries, a second apart.
    /// let three_retries = RetryPolicy::fixed(4, Duration::from_secs(1));
    /// assert_eq!(three_retries, RetryPolicy::new().attempts(4).delay(Duration::from_secs(1)).factor(1.0).jitter(0.0));
    /// ```
    #[must_use]
    pub fn fixed(attempts: u32, delay: Duration) -> Self {
        let cap = RetryPolicy::default().cap.max(delay);
        RetryPolicy { attempts: Some(attempts), delay, factor: 1.0, cap, jitter: 0.0 }
    }

    /// **Ends the attempts** after so many, the first included: then `handle_error` decides. Default:
    /// no end. Must be at least 1.
    ///
    /// ```
    /// use write_behind::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().attempts(20); // the last one after some eight minutes
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// The first wait. Default: 1 s. From zero to the [cap](Self::cap): a longer one is refused by
    /// `start`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().delay(Duration::from_millis(100)); // then 200, 400, 800 ms and so on
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// By how much each wait is longer than the one before. Default: 2. Must be at least 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().delay(Duration::from_secs(5)).factor(1.0); // 5 s each time
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The longest wait, before jitter. Default: 30 s.
    /// At most 6 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use write_behind::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().cap(Duration::from_secs(5)); // 1, 2, 4, 5, 5 s and so on
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How much is added at most, as a part of the wait. Default: 0.25. Must be from 0 to 1.
    ///
    /// ```
    /// use write_behind::RetryPolicy;
    ///
    /// let policy = RetryPolicy::new().jitter(1.0); // from the wait to twice the wait
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    pub(crate) fn first_wait(&self) -> Duration {
        self.delay
    }

    /// What is wrong with this policy, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.attempts == Some(0) {
            Some("must allow at least one attempt")
        } else if !(self.factor >= 1.0 && self.factor.is_finite()) {
            Some("has a factor that is not a number of at least 1")
        } else if !(0.0..=1.0).contains(&self.jitter) {
            Some("has a jitter that is not between 0 and 1")
        } else if self.delay > self.cap {
            Some("has a delay that is longer than its cap")
        } else if self.delay > super::tick::MAX_DELAY / 2 || self.cap > super::tick::MAX_DELAY / 2 {
            Some("has a delay or cap of more than 6 days")
        } else {
            None
        }
    }

    /// What is to be done after an attempt that failed; `chance` is uniform in 0..1.
    pub(crate) fn next(&self, failure: &Failure, attempt: Attempt, chance: f64) -> Next {
        if failure.hopeless {
            return Next::GiveUp;
        }
        let allowed = self.allows_another(attempt.number);
        let again = attempt.draining || allowed;
        let wait = match (allowed, attempt.draining) {
            // Each half still gets one attempt, so that in the end only the key to blame is given up.
            (false, false) => Duration::ZERO,
            (true, false) => self.wait(attempt.number, chance),
            (true, true) => self.wait(attempt.number, chance).min(draining_wait(attempt.number)),
            // However short the policy's waits are, they were not meant to go on.
            (false, true) => draining_wait(attempt.number - self.attempts.unwrap_or(0) + 1),
        };
        let several = attempt.keys > 1;
        let splits = match failure.effect {
            // The sink may have seen to it that this id is never applied.
            Effect::NeverApplied => several || again,
            Effect::NotApplied => attempt.may_halve(failure) && !(attempt.whole && again),
            Effect::Unknown => false,
        };
        match (splits, again) {
            // The storage is there and has looked at it: what is to be found is the key to blame.
            (true, _) if several && failure.effect == Effect::NeverApplied => Next::Split(Duration::ZERO),
            (true, _) => Next::Split(wait),
            (false, true) => Next::Again(wait),
            (false, false) => Next::GiveUp,
        }
    }

    fn allows_another(&self, attempts_made: u32) -> bool {
        self.attempts.is_none_or(|attempts| attempts_made < attempts)
    }

    /// The wait after `attempts_made` attempts; `chance` is uniform in 0..1.
    fn wait(&self, attempts_made: u32, chance: f64) -> Duration {
        if self.delay.is_zero() {
            // Zero times an infinite factor would not be a number.
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempts_made.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.delay.as_secs_f64() * self.factor.powi(exponent);
        let base = grown.min(self.cap.as_secs_f64());
        Duration::from_secs_f64(base * (1.0 + self.jitter * chance))
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) keys: usize,
    /// An earlier one may have been applied.
    pub(crate) frozen: bool,
    /// The buffer is shutting down.
    pub(crate) draining: bool,
    /// It is not to be split as long as there are attempts: nothing else gets through either, so it is no key's fault, and
    /// the sink is to see full batches when it is back.
    pub(crate) whole: bool,
}

impl Attempt {
    /// Whether some of its keys may be to blame, and it is known not to be applied.
    pub(crate) fn may_halve(&self, failure: &Failure) -> bool {
        failure.effect == Effect::NotApplied && self.keys > 1 && !self.frozen
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Next {
    /// The same batch again, after this wait.
    Again(Duration),
    /// Nothing of it was applied. Some key of it may be to blame: each half goes on as a batch of its own. One
    /// key does so by itself, for its batch can never be applied.
    Split(Duration),
    /// `handle_error` decides.
    GiveUp,
}

/// How long a wait lasts at most that begins or goes on while the buffer drains.
pub(crate) fn draining_wait(attempts_made: u32) -> Duration {
    let doublings = attempts_made.saturating_sub(1).min(16);
    DRAINING_CAP.min(DRAINING_DELAY * 2_u32.pow(doublings))
}
