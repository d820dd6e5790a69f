use std::time::Duration;

/// A point in time: whole milliseconds since the clock's epoch.
pub(crate) type Tick = u64;

/// The longest delay that the schedule takes: 12 days. One revolution of the timing wheel is a
/// little more.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(12 * 24 * 60 * 60);

/// How many nanoseconds a tick has.
pub(crate) const NANOS: u64 = 1_000_000;

/// Rounds down, and says by how many nanoseconds.
#[inline]
pub(crate) fn split(time: Duration) -> (Tick, u64) {
    (floor(time), u64::from(time.subsec_nanos()) % NANOS)
}

/// Rounds down: what the clock shows.
#[inline]
pub(crate) fn floor(time: Duration) -> Tick {
    // A deadline of `Duration::MAX` is a way to say never.
    time.as_secs().saturating_mul(1_000).saturating_add(u64::from(time.subsec_millis()))
}

/// Rounds up: when something is due, so that nothing is ever early.
pub(crate) fn ceil(time: Duration) -> Tick {
    floor(time.saturating_add(Duration::from_nanos(999_999)))
}

pub(crate) fn to_duration(ticks: Tick) -> Duration {
    Duration::from_millis(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_round_up_and_the_clock_rounds_down() {
        let time = Duration::from_micros(1_500);
        assert_eq!((floor(time), ceil(time)), (1, 2));
        assert_eq!(ceil(Duration::MAX), Tick::MAX);
        let whole = Duration::from_millis(5_000);
        assert_eq!((floor(whole), ceil(whole)), (5_000, 5_000));
    }

    #[test]
    fn the_longest_time_is_never() {
        assert_eq!((floor(Duration::MAX), ceil(Duration::MAX)), (Tick::MAX, Tick::MAX));
    }
}
