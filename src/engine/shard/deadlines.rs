use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::super::tick::{self, Tick};
use super::super::timers::Timers;

/// The shortest that a policy can have a generation stay: a tick.
const SHORTEST: Duration = Duration::from_millis(1);

/// When generations are due.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    pub(crate) interval: Duration,
    pub(crate) jitter: Duration,
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
    pub(super) fn flush_at(&self) -> u32 {
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
pub(super) struct Deadlines {
    timing: Timing,
    random: SmallRng,
    /// The base of each timer's generation. Empty where no step needs it.
    bases: Vec<Tick>,
}

impl Deadlines {
    pub(super) fn new(timing: Timing, random: SmallRng) -> Self {
        Deadlines { timing, random, bases: Vec::new() }
    }

    /// First insert + interval + uniform(0..=jitter); `shorter` is what a policy has chosen instead of
    /// the interval.
    pub(super) fn draw(&mut self, now: Duration, shorter: Option<Duration>) -> Deadline {
        let Timing { interval, jitter, .. } = self.timing;
        let jitter = match jitter.as_nanos() {
            0 => 0,
            nanos => self.random.random_range(0..=u64::try_from(nanos).unwrap_or(u64::MAX)),
        };
        let base = now + Duration::from_nanos(jitter);
        let interval = shorter.map_or(interval, |shorter| shorter.max(SHORTEST).min(interval));
        Deadline { tick: tick::ceil(base + interval), base: tick::ceil(base) }
    }

    /// Remembers what the steps of a timer's generation count from.
    pub(super) fn note(&mut self, timer: u32, deadline: Deadline) {
        if self.timing.steps.iter().all(|step| step.within.is_zero()) {
            return;
        }
        let place = Timers::place(timer);
        if place >= self.bases.len() {
            self.bases.resize(place + 1, 0);
        }
        self.bases[place] = deadline.base;
    }

    /// What this very count means, and when the step's time is over.
    pub(super) fn step(&self, timer: u32, count: u32) -> Option<(Step, Tick)> {
        let steps = &self.timing.steps;
        let step = steps[steps.binary_search_by_key(&count, |step| step.inserts).ok()?];
        let base = self.bases.get(Timers::place(timer)).copied().unwrap_or_default();
        Some((step, base + tick::ceil(step.within)))
    }

    /// From this count on a generation is due at once.
    pub(super) fn flush_at(&self) -> u32 {
        self.timing.flush_at()
    }

    /// Gives memory back when there are no timers.
    pub(super) fn shrink(&mut self) {
        self.bases = Vec::new();
    }
}
