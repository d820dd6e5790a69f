use std::time::Duration;

/// How often a failed flush is tried again, and how long to wait in between.
///
/// The wait before attempt *n + 1* is `delay × factor^(n − 1)`, at most `cap`, plus a uniformly
/// random part of up to `jitter` times that (so that many processes do not come back in step; see
/// "Exponential Backoff and Jitter", AWS Architecture Blog, 2015). Waiting is done by the schedule
/// and holds no worker.
///
/// Defaults: 4 attempts (one and three retries), 1 s apart, factor 1, cap 30 s, no jitter.
///
/// ```
/// use std::time::Duration;
/// use write_behind::RetryPolicy;
///
/// let patient = RetryPolicy::new()
///     .attempts(10)
///     .delay(Duration::from_millis(100))
///     .factor(2.0)
///     .cap(Duration::from_secs(10))
///     .jitter(0.5);
/// # let _ = patient;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    attempts: Option<u32>,
    delay: Duration,
    factor: f64,
    cap: Duration,
    jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: Some(4),
            delay: Duration::from_secs(1),
            factor: 1.0,
            cap: Duration::from_secs(30),
            jitter: 0.0,
        }
    }
}

impl RetryPolicy {
    /// The default policy.
    pub fn new() -> Self {
        RetryPolicy::default()
    }

    /// No retry: the first failure goes to `handle_error`.
    pub fn never() -> Self {
        RetryPolicy::default().attempts(1)
    }

    /// How many attempts in all, the first included. Default: 4. Must be at least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Tries until it succeeds, the sink says [`Outcome::Fatal`](crate::Outcome::Fatal), or the
    /// buffer shuts down. Data that never gets through fills the buffer up to its bounds.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.attempts = None;
        self
    }

    /// The first wait. Default: 1 s.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// By how much each wait is longer than the one before. Default: 1. Must be at least 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The longest wait, before jitter. Default: 30 s.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How much is added at most, as a part of the wait. Default: 0. Must be from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// What is wrong with this policy, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.attempts == Some(0) {
            Some("must allow at least one attempt")
        } else if !(self.factor >= 1.0 && self.factor.is_finite()) {
            Some("has a factor that is not a number of at least 1")
        } else if !(0.0..=1.0).contains(&self.jitter) {
            Some("has a jitter that is not between 0 and 1")
        } else if self.delay > super::tick::MAX_DELAY / 2 || self.cap > super::tick::MAX_DELAY / 2 {
            Some("has a delay or cap of more than 6 days")
        } else {
            None
        }
    }

    pub(crate) fn allows_another(&self, attempts_made: u32) -> bool {
        self.attempts.is_none_or(|attempts| attempts_made < attempts)
    }

    /// The wait after `attempts_made` attempts; `chance` is uniform in 0..1.
    pub(crate) fn wait(&self, attempts_made: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(attempts_made.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.delay.as_secs_f64() * self.factor.powi(exponent);
        // Zero times a factor beyond all numbers is no number.
        let base = if self.delay.is_zero() { 0.0 } else { grown.min(self.cap.as_secs_f64()) };
        Duration::from_secs_f64(base * (1.0 + self.jitter * chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_up_to_the_cap() {
        let policy = RetryPolicy::new().delay(Duration::from_secs(1)).factor(2.0).cap(Duration::from_secs(5));
        let waits: Vec<_> = (1..=5).map(|attempts| policy.wait(attempts, 0.9).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(policy.wait(u32::MAX, 0.0), Duration::from_secs(5));
    }

    #[test]
    fn no_delay_stays_no_delay() {
        let policy = RetryPolicy::new().delay(Duration::ZERO).factor(2.0);
        assert_eq!(policy.wait(u32::MAX, 0.5), Duration::ZERO);
    }

    #[test]
    fn jitter_only_adds() {
        let policy = RetryPolicy::new().jitter(0.5);
        assert_eq!(policy.wait(1, 0.0), Duration::from_secs(1));
        assert_eq!(policy.wait(1, 1.0), Duration::from_millis(1_500));
    }

    #[test]
    fn attempts_are_counted_exactly() {
        let policy = RetryPolicy::new().attempts(3);
        assert!(policy.allows_another(2));
        assert!(!policy.allows_another(3));
        assert!(!RetryPolicy::never().allows_another(1));
        assert!(policy.forever().allows_another(u32::MAX));
    }

    #[test]
    fn nonsense_is_named() {
        for (policy, word) in [
            (RetryPolicy::new().attempts(0), "attempt"),
            (RetryPolicy::new().factor(0.5), "factor"),
            (RetryPolicy::new().factor(f64::NAN), "factor"),
            (RetryPolicy::new().jitter(-0.1), "jitter"),
            (RetryPolicy::new().delay(Duration::MAX), "delay"),
        ] {
            assert!(policy.problem().expect("refused").contains(word));
        }
        assert_eq!(RetryPolicy::default().problem(), None);
    }
}
