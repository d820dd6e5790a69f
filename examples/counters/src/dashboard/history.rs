//! The last two minutes, about a second a sample. What time it is comes from outside.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use write_behind::Stats;

/// A chart is two minutes wide.
const SAMPLES: usize = 130;

/// The statistics are told in between too, at turns. What is closer together than this is one sample.
const SHORTEST: Duration = Duration::from_millis(900);

/// At rest nobody tells anything. What ends a longer silence happened at its end.
const LONGEST: Duration = Duration::from_millis(2_500);
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// What happened in `span_ms` up to `at_ms`, which counts from the start of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    pub(crate) at_ms: u64,
    pub(crate) span_ms: u64,
    /// Increments taken in.
    pub(crate) accepted: u64,
    /// Rows written: one for each key of a batch.
    pub(crate) rows: u64,
    pub(crate) retries: u64,
    /// Increments in memory at its end.
    pub(crate) waiting: u64,
    /// The worst of the batches.
    pub(crate) late_ms: u64,
    pub(crate) took_ms: u64,
}

#[derive(Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// Rows written since the start.
    rows: u64,
    late: Duration,
    took: Duration,
    /// What the last sample knew.
    until: Duration,
    told: Told,
}

#[derive(Default)]
struct Told {
    accepted: u64,
    rows: u64,
    retries: u64,
}

impl History {
    pub(crate) fn late(&mut self, late: Duration) {
        self.late = self.late.max(late);
    }

    pub(crate) fn wrote(&mut self, rows: u64, took: Duration) {
        self.rows += rows;
        self.took = self.took.max(took);
    }

    /// Makes a sample of what happened since the last one, if that is long enough ago.
    pub(crate) fn record(&mut self, now: Duration, stats: &Stats) {
        let span = now.saturating_sub(self.until);
        if span < SHORTEST {
            return;
        }
        let span = if span > LONGEST { AFTER_SILENCE } else { span };
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at_ms: now.as_millis() as u64,
            span_ms: span.as_millis() as u64,
            // Two threads may tell statistics in another order than they took them.
            accepted: stats.accepted.saturating_sub(self.told.accepted),
            rows: self.rows - self.told.rows,
            retries: stats.retries.saturating_sub(self.told.retries),
            waiting: stats.pending + stats.in_flight,
            late_ms: std::mem::take(&mut self.late).as_millis() as u64,
            took_ms: std::mem::take(&mut self.took).as_millis() as u64,
        });
        self.until = now;
        let (accepted, retries) =
            (stats.accepted.max(self.told.accepted), stats.retries.max(self.told.retries));
        self.told = Told { accepted, rows: self.rows, retries };
    }

    /// Rows written since the start.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The oldest first.
    pub(crate) fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }
}
