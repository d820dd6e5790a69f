//! The end: what is in flight is hurried on, and at last taken out.

use std::collections::BTreeMap;

use super::super::sequence::Sequence;
use super::{Flight, Flights, Past, Queue, Ready, Stage};

/// How far a flight was when shutdown took it.
#[derive(Debug)]
pub(crate) enum Stranded<B> {
    /// Nobody is working on it.
    Idle { content: B, past: Option<Past> },
    /// A callback may still be reading it.
    Running(B),
    /// It was given up and kept.
    Kept { content: B, past: Past },
}

impl<B: Clone> Flights<B> {
    /// Shutdown: readies everything that waits for a later attempt, or for the end of a pause.
    pub(crate) fn hurry(&mut self) {
        self.paused = false;
        let waits = |(&sequence, flight): (&Sequence, &Flight<B>)| match flight.stage {
            Stage::Backoff { until } => Some((until, sequence)),
            _ => None,
        };
        let waiting: Vec<_> = self.live.iter().filter_map(waits).collect();
        for (until, sequence) in waiting {
            self.agenda.remove(&(until, sequence));
            self.make_ready(sequence, Queue::Retries);
        }
    }

    /// Shutdown's deadline: takes out everything except what is being settled at this moment.
    pub(crate) fn strand(&mut self) -> Vec<Stranded<B>> {
        self.agenda.clear();
        self.ready = Ready::default();
        self.waiting = 0;
        self.take_out(|flight| !matches!(flight.stage, Stage::Settling | Stage::Assembling))
    }

    pub(super) fn take_out(&mut self, which: impl Fn(&Flight<B>) -> bool) -> Vec<Stranded<B>> {
        let (out, stay): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.live).into_iter().partition(|(_, flight)| which(flight));
        self.live = stay;
        self.kept -= out.values().filter(|flight| matches!(flight.stage, Stage::Kept { .. })).count();
        out.into_values().filter_map(Flight::stranded).collect()
    }
}

impl<B> Flight<B> {
    fn stranded(self) -> Option<Stranded<B>> {
        let Flight { batch, attempts, cause, frozen, stage, .. } = self;
        let content = batch?;
        let past = cause.map(|cause| Past { attempts, cause, frozen });
        Some(match (stage, past) {
            (Stage::Running { .. }, _) => Stranded::Running(content),
            (Stage::Kept { .. }, Some(past)) => Stranded::Kept { content, past },
            (_, past) => Stranded::Idle { content, past },
        })
    }
}
