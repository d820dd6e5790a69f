//! Batches that are kept as undelivered.

use super::super::sequence::Sequence;
use super::{Flight, Flights, Past, Queue, Stage, Stranded};

impl<B: Clone> Flights<B> {
    /// A batch that was given up gets back what is to be kept of it. Returns which batch that was on disk only is over
    /// with it.
    pub(crate) fn keep(
        &mut self,
        sequence: Sequence,
        batch: B,
        frozen: bool,
        whole: bool,
    ) -> Option<Sequence> {
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.frozen = frozen;
        flight.stage = Stage::Kept { whole };
        let origin = flight.origin.take();
        self.kept += 1;
        self.spilled.count_out(origin)
    }

    /// The kept batches that can be offered again.
    pub(crate) fn offerable(&self) -> Vec<Sequence> {
        let offerable =
            |flight: &Flight<B>| matches!(flight.stage, Stage::Kept { whole } if whole || !flight.frozen);
        self.live.iter().filter(|(_, flight)| offerable(flight)).map(|(&sequence, _)| sequence).collect()
    }

    /// Takes the content out of a batch to offer it again. `None` if it is not kept any more.
    pub(crate) fn take_back(&mut self, sequence: Sequence) -> Option<(B, Past)> {
        if !matches!(self.live.get(&sequence)?.stage, Stage::Kept { .. }) {
            return None;
        }
        let content = self.take_content(sequence)?;
        let Flight { attempts, cause, frozen, .. } = self.flight(sequence);
        let past = Past { attempts: *attempts, cause: cause.clone()?, frozen: *frozen };
        Some((content, past))
    }

    /// A batch that was kept is ready again, as it is, with fresh attempts.
    pub(crate) fn offer(&mut self, sequence: Sequence, batch: B) {
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.attempts = 0;
        self.make_ready(sequence, Queue::Retries);
    }

    /// Takes out what is kept.
    pub(crate) fn take_kept(&mut self) -> Vec<Stranded<B>> {
        self.take_out(|flight| matches!(flight.stage, Stage::Kept { .. }))
    }
}
