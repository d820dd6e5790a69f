//! Batches that wait for a worker.

use std::collections::VecDeque;

use super::super::sequence::Sequence;

/// Which of the two queues of what is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Fresh,
    Retries,
}

/// What workers do next comes from two queues in turn, so that neither starves the other.
#[derive(Debug, Default)]
pub(super) struct Ready {
    fresh: VecDeque<Sequence>,
    retries: VecDeque<Sequence>,
    /// The next one comes from `fresh`, if there is any.
    fresh_next: bool,
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.retries.len()
    }

    /// How many have not been tried before.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    pub(super) fn push(&mut self, sequence: Sequence, queue: Queue) {
        match queue {
            Queue::Fresh => self.fresh.push_back(sequence),
            Queue::Retries => self.retries.push_back(sequence),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Sequence> {
        let fresh_first = self.fresh_next;
        self.fresh_next = !fresh_first;
        let (first, second) = if fresh_first {
            (&mut self.fresh, &mut self.retries)
        } else {
            (&mut self.retries, &mut self.fresh)
        };
        first.pop_front().or_else(|| second.pop_front())
    }
}
