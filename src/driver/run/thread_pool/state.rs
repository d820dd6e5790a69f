//! Who has what to do, and when. Knows nothing of threads but how many do what.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::Next;

/// How many threads work at once, at most.
const MOST_WORKERS: usize = 1_024;

/// `M` is how a member is held.
pub(super) struct State<M> {
    members: HashMap<u64, Place<M>>,
    joined: u64,
    /// Those who have to take a step.
    steps: VecDeque<u64>,
    /// Those who have work, once for each thread that they want.
    work: VecDeque<u64>,
    /// When members take their next steps.
    agenda: BTreeSet<(Instant, u64)>,
    /// Threads at a job.
    stepping: usize,
    working: usize,
    /// Threads that wait for a job.
    pub(super) idle: usize,
    /// Whether a thread waits for the first time on the agenda.
    pub(super) keeper: Keeper,
    /// A thread has been started and not begun.
    pub(super) starting: bool,
}

struct Place<M> {
    member: M,
    stage: Stage,
    /// Its time on the agenda.
    wake_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To `Rung` when it is rung for or its time comes.
    Asleep,
    /// In `steps`. To `Stepping`.
    Rung,
    /// To `Asleep`, or away.
    Stepping,
    /// Rung for while it takes a step. To `Rung`, or away.
    SteppingRung,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    Nobody,
    /// A thread has been told to look.
    Called,
    There,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job<M> {
    Step(u64, M),
    Work(M),
}

impl<M> Default for State<M> {
    fn default() -> Self {
        State {
            members: HashMap::new(),
            joined: 0,
            steps: VecDeque::new(),
            work: VecDeque::new(),
            agenda: BTreeSet::new(),
            stepping: 0,
            working: 0,
            idle: 0,
            keeper: Keeper::Nobody,
            starting: false,
        }
    }
}

impl<M: Clone> State<M> {
    /// A new member, which has a step to take.
    pub(super) fn join(&mut self, member: M) -> u64 {
        self.joined += 1;
        self.members.insert(self.joined, Place { member, stage: Stage::Rung, wake_at: None });
        self.steps.push_back(self.joined);
        self.joined
    }

    /// A member that has no step to take any more.
    pub(super) fn leave(&mut self, id: u64) -> Option<M> {
        let place = self.members.remove(&id)?;
        if let Some(time) = place.wake_at {
            self.agenda.remove(&(time, id));
        }
        Some(place.member)
    }

    pub(super) fn ring(&mut self, id: u64) {
        let Some(place) = self.members.get_mut(&id) else { return };
        match place.stage {
            Stage::Asleep => {
                place.stage = Stage::Rung;
                self.steps.push_back(id);
            }
            Stage::Stepping => place.stage = Stage::SteppingRung,
            Stage::Rung | Stage::SteppingRung => {}
        }
    }

    /// Rings for those whose time has come.
    pub(super) fn ring_due(&mut self, now: Instant) {
        while let Some(&(time, id)) = self.agenda.first().filter(|(time, _)| *time <= now) {
            self.agenda.remove(&(time, id));
            if let Some(place) = self.members.get_mut(&id) {
                place.wake_at = None;
            }
            self.ring(id);
        }
    }

    /// A member has work for so many threads.
    pub(super) fn engage(&mut self, id: u64, threads: usize) {
        self.work.extend((0..threads).map(|_| id));
    }

    /// How many jobs could be taken.
    pub(super) fn jobs(&self) -> usize {
        self.steps.len() + self.work.len().min(MOST_WORKERS - self.working)
    }

    /// Steps come first: they are short, and what is to be done in time depends on them.
    pub(super) fn take_job(&mut self) -> Option<Job<M>> {
        while let Some(id) = self.steps.pop_front() {
            if let Some(place) = self.members.get_mut(&id) {
                place.stage = Stage::Stepping;
                // The step will say anew when the next one is due.
                if let Some(time) = place.wake_at.take() {
                    self.agenda.remove(&(time, id));
                }
                self.stepping += 1;
                return Some(Job::Step(id, place.member.clone()));
            }
        }
        while self.working < MOST_WORKERS {
            let id = self.work.pop_front()?;
            if let Some(place) = self.members.get(&id) {
                self.working += 1;
                return Some(Job::Work(place.member.clone()));
            }
        }
        None
    }

    /// Returns the member if it leaves.
    pub(super) fn end_step(&mut self, id: u64, next: Next) -> Option<M> {
        self.stepping -= 1;
        if next == Next::Over {
            return self.leave(id);
        }
        let place = self.members.get_mut(&id)?;
        if let Next::At(time) = next {
            place.wake_at = Some(time);
            self.agenda.insert((time, id));
        }
        let rung = std::mem::replace(&mut place.stage, Stage::Asleep) == Stage::SteppingRung;
        if rung {
            self.ring(id);
        }
        None
    }

    pub(super) fn end_work(&mut self) {
        self.working -= 1;
    }

    pub(super) fn first_time(&self) -> Option<Instant> {
        self.agenda.first().map(|&(time, _)| time)
    }

    /// Whether somebody has to wait for the first time on the agenda.
    pub(super) fn needs_keeper(&self) -> bool {
        self.keeper == Keeper::Nobody && !self.agenda.is_empty()
    }

    /// Whether there is nothing to do, nor anything to wait for.
    pub(super) fn is_quiet(&self) -> bool {
        self.jobs() + self.stepping + self.working == 0 && self.agenda.is_empty()
    }

    pub(super) fn has_threads(&self) -> bool {
        self.starting || self.keeper != Keeper::Nobody || self.idle + self.stepping + self.working > 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn step(state: &mut State<char>) -> (u64, char) {
        match state.take_job() {
            Some(Job::Step(id, member)) => (id, member),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_step_is_taken_by_one_thread_and_again_if_rung_for_meanwhile() {
        let mut state = State::default();
        let id = state.join('a');
        state.ring(id);
        assert_eq!((state.jobs(), step(&mut state)), (1, (id, 'a')));
        state.ring(id);
        state.ring(id);
        assert_eq!(state.take_job(), None, "it is being taken");
        assert_eq!(state.end_step(id, Next::Rung), None);
        assert_eq!(step(&mut state), (id, 'a'));
        state.end_step(id, Next::Rung);
        assert_eq!(state.take_job(), None);
        assert!(state.is_quiet());
    }

    #[test]
    fn a_time_comes_once_and_the_latest_plan_counts() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut state = State::default();
        let id = state.join('a');
        step(&mut state);
        state.end_step(id, Next::At(later(5)));
        assert!(state.needs_keeper() && !state.is_quiet());
        state.ring(id);
        step(&mut state);
        state.end_step(id, Next::At(later(9)));
        state.ring_due(later(8));
        assert_eq!((state.jobs(), state.first_time()), (0, Some(later(9))));
        state.ring_due(later(9));
        assert_eq!(step(&mut state), (id, 'a'));
        assert_eq!(state.first_time(), None);
    }

    #[test]
    fn one_who_leaves_is_not_heard_of_again() {
        let mut state = State::default();
        let id = state.join('a');
        step(&mut state);
        state.engage(id, 2);
        state.ring(id);
        assert_eq!(state.end_step(id, Next::Over), Some('a'));
        state.ring(id);
        assert_eq!(state.take_job(), None);
        assert!(state.is_quiet());
    }

    #[test]
    fn steps_come_before_work_and_work_is_bounded() {
        let mut state = State::default();
        let busy = state.join('a');
        step(&mut state);
        state.engage(busy, MOST_WORKERS + 1);
        state.end_step(busy, Next::Rung);
        (0..MOST_WORKERS).for_each(|_| assert_eq!(state.take_job(), Some(Job::Work('a'))));
        assert_eq!((state.jobs(), state.take_job()), (0, None));
        let id = state.join('b');
        assert_eq!(step(&mut state), (id, 'b'));
        state.end_work();
        assert_eq!(state.take_job(), Some(Job::Work('a')));
    }
}
