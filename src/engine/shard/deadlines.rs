use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::super::tick::{self, Tick};
use super::super::timers::TimerId;

/// The shortest that a policy can have a generation stay: a tick.
const SHORTEST: Duration = Duration::from_millis(1);

/// When generations are due.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    pub(crate) interval: Duration,
    pub(crate) jitter: Duration,
    /// Deadlines are at multiples of it, so that generations leave together.
    pub(crate) linger: Duration,
    /// By rising counts; the times get shorter.
    pub(crate) steps: Box<[Step]>,
}

/// What a number of inserts means to the deadline of their generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) inserts: u32,
    /// Due this long after the first insert; zero: at once.
    pub(crate) within: Duration,
}

impl Timing {
    /// No lower count is a step.
    pub(super) fn first_step(&self) -> u32 {
        self.steps.first().map_or(u32::MAX, |step| step.inserts)
    }

    /// From this count on a generation is due at once.
    pub(super) fn flush_at_count(&self) -> u32 {
        self.steps.last().filter(|step| step.within.is_zero()).map_or(u32::MAX, |step| step.inserts)
    }
}

/// The deadline of a generation that starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) tick: Tick,
    /// What steps count from: the first insert, later by the generation's jitter.
    base: Tick,
}

/// Draws a partition's deadlines, and knows where their steps are.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Deadlines {
    /// In nanoseconds, so that little has to be computed when a generation starts.
    interval: u64,
    jitter: u64,
    /// In ticks; one is none.
    linger: Tick,
    /// Whether some step has a time of its own.
    stepwise: bool,
    random: SmallRng,
    timing: Timing,
    /// The base of each timer's generation. Empty where no step needs it.
    bases: Vec<Tick>,
}

impl Deadlines {
    pub(super) fn new(timing: Timing, random: SmallRng) -> Self {
        Deadlines {
            interval: nanos(timing.interval),
            jitter: nanos(timing.jitter),
            linger: tick::ceil(timing.linger).max(1),
            stepwise: timing.steps.iter().any(|step| !step.within.is_zero()),
            random,
            timing,
            bases: Vec::new(),
        }
    }

    /// First insert + interval + uniform(0..=jitter), and up to `linger`; `shorter` is what a policy has chosen instead of
    /// the interval.
    #[inline]
    pub(super) fn draw(&mut self, now: Duration, shorter: Option<Duration>) -> Deadline {
        let jitter = if self.jitter == 0 { 0 } else { self.random.random_range(0..=self.jitter) };
        let interval =
            shorter.map_or(self.interval, |shorter| nanos(shorter.max(SHORTEST)).min(self.interval));
        let (tick, rest) = tick::split(now);
        let later = |nanos: u64| tick.saturating_add(nanos.div_ceil(tick::NANOS));
        let base = rest.saturating_add(jitter);
        Deadline { tick: self.gather(later(base.saturating_add(interval))), base: later(base) }
    }

    /// The next time at which generations leave together.
    #[inline]
    fn gather(&self, tick: Tick) -> Tick {
        if self.linger == 1 { tick } else { tick.checked_next_multiple_of(self.linger).unwrap_or(tick) }
    }

    /// Remembers what the steps of a timer's generation count from.
    #[inline]
    pub(super) fn note(&mut self, timer: TimerId, deadline: Deadline) {
        if self.stepwise {
            let place = timer.place();
            if place >= self.bases.len() {
                self.bases.resize(place + 1, 0);
            }
            self.bases[place] = deadline.base;
        }
    }

    /// What this very count means, and when the step's time is over.
    pub(super) fn step(&self, timer: TimerId, count: u32) -> Option<(Step, Tick)> {
        let steps = &self.timing.steps;
        let step = steps[steps.binary_search_by_key(&count, |step| step.inserts).ok()?];
        let base = self.bases.get(timer.place()).copied().unwrap_or_default();
        Some((step, self.gather(base + tick::ceil(step.within))))
    }

    /// The next count after this one that means something.
    pub(super) fn next_step(&self, count: u32) -> Option<u32> {
        let steps = &self.timing.steps;
        steps.get(steps.partition_point(|step| step.inserts <= count)).map(|step| step.inserts)
    }

    /// From this count on a generation is due at once.
    pub(super) fn flush_at_count(&self) -> u32 {
        self.timing.flush_at_count()
    }

    /// Gives memory back when there are no timers.
    pub(super) fn shrink(&mut self) {
        self.bases = Vec::new();
    }
}

/// The longest time for what is longer than 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
