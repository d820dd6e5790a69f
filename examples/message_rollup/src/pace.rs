//! How long an account's messages may stay in memory: the faster they come, and the faster they come
//! faster, the shorter, between bounds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use write_behind::IntervalPolicy;

use crate::Account;
use crate::minutes::Minutes;

/// A flush should carry about so many messages.
const MESSAGES: f64 = 50.0;

#[derive(Debug)]
pub(crate) struct Pace {
    shortest: Duration,
    longest: Duration,
    /// One entry per account ever seen.
    accounts: Mutex<HashMap<Account, Motion>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Motion {
    /// When the generation started that is being collected.
    started: Duration,
    /// How many messages the one before it amounted to.
    messages: u64,
    /// Messages per second, from one start to the next.
    speed: f64,
    interval: Duration,
}

impl Pace {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Pace { shortest, longest, accounts: Mutex::default() }
    }

    /// The sink tells what a generation amounted to.
    pub(crate) fn flushed(&self, account: &Account, messages: u64) {
        let mut accounts = self.accounts.lock().expect("no panic in here");
        accounts.entry(account.clone()).or_default().messages += messages;
    }

    /// The account's present interval.
    pub(crate) fn interval_of(&self, account: &Account) -> Duration {
        let accounts = self.accounts.lock().expect("no panic in here");
        accounts.get(account).map_or(self.longest, |motion| motion.interval)
    }

    fn next_interval(&self, motion: &Motion, now: Duration) -> (f64, Duration) {
        let passed = now.saturating_sub(motion.started).as_secs_f64();
        if passed == 0.0 || motion.messages == 0 {
            return (motion.speed, self.longest);
        }
        let speed = motion.messages as f64 / passed;
        // The change of speed goes on as it did for as long as it has.
        let acceleration = (speed - motion.speed) / passed;
        let expected = (speed + acceleration * passed).max(0.0);
        let interval = Duration::try_from_secs_f64(MESSAGES / expected).unwrap_or(self.longest);
        (speed, interval.clamp(self.shortest, self.longest))
    }
}

/// The buffer asks once per generation.
impl IntervalPolicy<Account, Minutes> for Pace {
    fn interval(&self, account: &Account, _first: &Minutes, now: Duration) -> Duration {
        let mut accounts = self.accounts.lock().expect("no panic in here");
        let motion = accounts.entry(account.clone()).or_default();
        let (speed, interval) = self.next_interval(motion, now);
        *motion = Motion { started: now, messages: 0, speed, interval };
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use write_behind::Aggregate;

    fn interval(pace: &Pace, at: u64, messages: u64) -> Duration {
        let account = Account::from("ada");
        pace.flushed(&account, messages);
        pace.interval(&account, &Minutes::start(0), Duration::from_secs(at))
    }

    #[test]
    fn speed_and_acceleration_shorten_the_interval_between_its_bounds() {
        let secs = Duration::from_secs;
        let pace = Pace::new(secs(1), secs(30));
        assert_eq!(interval(&pace, 0, 0), secs(30), "nothing is known");
        // 5 messages a second, from none: expected are 10.
        assert_eq!(interval(&pace, 10, 50), secs(5));
        // As fast as before: 5 are expected.
        assert_eq!(interval(&pace, 20, 50), secs(10));
        // Slower, and expected to be slower still.
        assert_eq!(interval(&pace, 30, 40), Duration::from_secs_f64(50.0 / 3.0));
        assert_eq!(interval(&pace, 40, 100_000), secs(1), "the shortest");
        assert_eq!(interval(&pace, 50, 1), secs(30), "the longest");
    }
}
