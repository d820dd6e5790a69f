//! What a journal has to know of batches, and when it does.

use super::super::sequence::Sequence;
use super::{Flight, Flights, Past, Queue, Record, Stage, Started};

/// How far a batch is, as a journal has it.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// To be sent; `ahead` of others, although some of them may have lower sequences.
    Sent { ahead: bool },
    /// To be given up.
    GivenUp(Past),
    /// Kept as undelivered. It is offered again only if it is `whole`, or was never applied; if it was `handed_over` in an
    /// earlier life, then to `handle_error` again, and not to the sink.
    Kept { past: Past, whole: bool, handed_over: bool },
}

/// What follows when batches are on disk.
#[derive(Debug)]
pub(crate) struct Recorded<B> {
    /// Some are ready.
    pub(crate) readied: bool,
    /// Their content is to be let go of.
    pub(crate) spilled: Vec<(Sequence, B)>,
}

impl<B: Clone> Flights<B> {
    /// These batches are being written as they are now.
    pub(crate) fn recording(&mut self, batches: impl IntoIterator<Item = Sequence>) {
        for sequence in batches {
            if let Some(flight) = self.live.get_mut(&sequence).filter(|flight| flight.record == Record::Noted)
            {
                flight.record = Record::Writing;
            }
        }
    }

    /// What was being written is on disk.
    pub(crate) fn recorded(&mut self, batches: impl IntoIterator<Item = Sequence>) -> Recorded<B> {
        let mut recorded = Recorded { readied: false, spilled: Vec::new() };
        for sequence in batches {
            let Some(flight) = self.live.get_mut(&sequence) else { continue };
            // It may have changed meanwhile.
            if flight.record == Record::Writing {
                flight.record = Record::Done;
                match (flight.stage, &flight.batch) {
                    (Stage::Spilling(_), Some(batch)) => recorded.spilled.push((sequence, batch.clone())),
                    _ => recorded.readied |= self.release(sequence),
                }
            }
        }
        recorded
    }

    /// Whether it waited for its record.
    fn release(&mut self, sequence: Sequence) -> bool {
        let Stage::Unrecorded(queue) = self.flight(sequence).stage else { return false };
        self.waiting -= usize::from(queue == Queue::Fresh);
        self.make_ready(sequence, queue);
        true
    }

    /// From now on batches wait for the journal, or they no longer do: then none that waits now does, but those that are
    /// behind others that are on disk only. Says whether that made any of them ready.
    pub(crate) fn set_journaled(&mut self, journaled: bool) -> bool {
        self.journaled = journaled;
        if journaled {
            return false;
        }
        self.ended.clear();
        let live: Vec<_> = self.live.keys().copied().collect();
        live.into_iter().fold(false, |readied, sequence| {
            if let Stage::Spilling(need) = self.flight(sequence).stage {
                return self.spill_no_more(sequence, need) || readied;
            }
            self.flight(sequence).record = Record::Done;
            self.release(sequence) || readied
        })
    }

    /// Others have got what was in this batch, and it is about to end: the journal has to learn that together.
    pub(crate) fn replaced(&mut self, sequence: Sequence) {
        if let Some(flight) = self.live.get_mut(&sequence) {
            flight.over = true;
        }
        if self.journaled {
            self.ended.insert(sequence);
        }
    }

    /// What is over and still in the journal.
    pub(crate) fn ended(&self) -> impl Iterator<Item = Sequence> {
        self.ended.iter().copied()
    }

    /// The journal has forgotten these batches.
    pub(crate) fn forgotten(&mut self, batches: impl IntoIterator<Item = Sequence>) {
        for sequence in batches {
            self.ended.remove(&sequence);
        }
    }

    /// No sequence from this one on was ever used.
    pub(crate) fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// All batches that have their content, as a journal has to have them.
    pub(crate) fn contents(&self) -> Vec<(Sequence, B, Standing)> {
        let live = self.live.iter().filter(|(_, flight)| !flight.over);
        let contents = live.filter_map(|(&sequence, flight)| {
            let standing = match (flight.past(), flight.stage) {
                (Some(past), Stage::Kept { whole }) => {
                    Standing::Kept { past, whole, handed_over: flight.handed_over }
                }
                (Some(past), _) if flight.doomed => Standing::GivenUp(past),
                _ => Standing::Sent { ahead: flight.is_ahead(sequence) },
            };
            Some((sequence, flight.batch.clone()?, standing))
        });
        contents.collect()
    }

    /// How a journal has to have a batch that is to be sent.
    pub(crate) fn sent(&self, sequence: Sequence) -> Standing {
        Standing::Sent { ahead: self.live.get(&sequence).is_some_and(|flight| flight.is_ahead(sequence)) }
    }

    /// A batch whose failure is being acted upon, and its past. `None` if shutdown has taken it meanwhile.
    pub(crate) fn failed(&self, sequence: Sequence) -> Option<(B, Past)> {
        let flight = self.live.get(&sequence)?;
        Some((flight.batch.clone()?, flight.past()?))
    }

    /// The batch, whose failure is being acted upon, is to be given up as soon as the journal knows.
    pub(crate) fn doom(&mut self, sequence: Sequence) {
        let record = self.unrecorded();
        let flight = self.flight(sequence);
        (flight.doomed, flight.record) = (true, record);
        self.make_ready(sequence, Queue::Retries);
    }

    /// Whether an earlier life may have dealt with a batch.
    pub(crate) fn is_handed_over(&self, sequence: Sequence) -> bool {
        self.live.get(&sequence).is_some_and(|flight| flight.handed_over)
    }

    /// A batch that was kept is to be given up again. The journal knows as much.
    pub(crate) fn doom_again(&mut self, sequence: Sequence, batch: B) {
        let flight = self.flight(sequence);
        flight.batch = Some(batch);
        flight.doomed = true;
        self.make_ready(sequence, Queue::Retries);
    }

    /// Takes the content out of a batch that is to be given up; `None` if it is not.
    pub(super) fn start_giving_up(
        &mut self,
        sequence: Sequence,
        settled_below: Sequence,
    ) -> Option<Started<B>> {
        let flight = self.flight(sequence);
        if !flight.doomed {
            return None;
        }
        flight.doomed = false;
        flight.stage = Stage::Settling;
        let (attempt, doomed) = (flight.attempts, flight.past());
        let batch = flight.batch.take()?;
        Some(Started { batch, attempt, settled_below, doomed })
    }

    /// Sequences go on from here.
    pub(crate) fn go_on_from(&mut self, sequence: Sequence) {
        self.next_sequence = sequence;
    }

    /// A batch that a journal has. It may have been applied.
    pub(crate) fn recover(&mut self, sequence: Sequence, batch: B, standing: Standing) {
        let mut flight = Flight::new(Record::Done);
        (flight.batch, flight.frozen) = (Some(batch), true);
        match standing {
            Standing::Sent { .. } => {
                flight.origin = Some(Sequence::EARLIER);
                self.spilled.count_in(flight.origin);
            }
            Standing::GivenUp(past) => {
                flight.suffer(past);
                (flight.doomed, flight.handed_over) = (true, true);
            }
            Standing::Kept { past, whole, handed_over } => {
                flight.suffer(past);
                flight.handed_over = handed_over;
                flight.stage = Stage::Kept { whole };
            }
        }
        let kept = matches!(flight.stage, Stage::Kept { .. });
        self.live.insert(sequence, flight);
        if kept {
            self.kept += 1;
        } else {
            self.make_ready(sequence, Queue::Retries);
        }
    }
}

impl<B> Flight<B> {
    /// Whether it goes before others that have lower sequences: it is what became of one that did.
    fn is_ahead(&self, sequence: Sequence) -> bool {
        self.origin.is_some_and(|origin| origin != sequence)
    }

    fn past(&self) -> Option<Past> {
        let cause = self.cause.clone()?;
        Some(Past { attempts: self.attempts, cause, frozen: self.frozen })
    }

    fn suffer(&mut self, Past { attempts, cause, frozen }: Past) {
        (self.attempts, self.cause, self.frozen) = (attempts, Some(cause), frozen);
    }
}
