//! Whether the sink is there, as far as its answers tell.

use std::time::Duration;

use super::Flights;

/// The last answers of the sink.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// So many in a row were failures of whole batches that blame nobody.
    failures: usize,
    /// When a batch is split next, though nothing gets through.
    split_at: Duration,
}

impl<B: Clone> Flights<B> {
    /// The sink has answered. `wholly`: a batch failed, no part of it is known to be stored, and nothing says that it is to
    /// blame.
    pub(crate) fn answered(&mut self, wholly: bool) {
        self.answers.failures = if wholly { self.answers.failures + 1 } else { 0 };
    }

    /// Whether a batch that failed stays whole, because `attempts` in a row have failed so: it is the sink then, and no key
    /// of it. Now and then, `wait` apart, one is split for all that, since all that was tried may have had such keys.
    pub(crate) fn stays_whole(&mut self, attempts: usize, now: Duration, wait: Duration) -> bool {
        if self.answers.failures < attempts {
            return false;
        }
        let stays = now < self.answers.split_at;
        if !stays {
            self.answers.split_at = now.saturating_add(wait);
        }
        stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_takes_failures_in_a_row_and_one_success_ends_it() {
        let mut flights = Flights::<u8>::new(false);
        let mut stays_whole = |answers: &[bool]| {
            answers.iter().for_each(|wholly| flights.answered(*wholly));
            // The first one that might stay whole is split.
            flights.stays_whole(2, Duration::ZERO, SECOND);
            flights.stays_whole(2, Duration::ZERO, SECOND)
        };
        assert!(!stays_whole(&[true]));
        assert!(stays_whole(&[true]));
        assert!(!stays_whole(&[false, true]));
        assert!(stays_whole(&[true]));
    }

    #[test]
    fn now_and_then_one_is_split() {
        let mut flights = Flights::<u8>::new(false);
        flights.answered(true);
        let times = [0, 1, 999, 1_000, 1_001, 1_999, 5_000, 5_999];
        let stays = times.map(|ms| flights.stays_whole(1, Duration::from_millis(ms), SECOND));
        assert_eq!(stays, [false, true, true, false, true, true, false, true]);
    }
}
