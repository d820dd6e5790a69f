//! Where counts go in the end: a first-in-first-out series of the last 15 minutes.

use std::collections::VecDeque;

use crate::minutes::Minute;

/// How many points a series has.
pub(crate) const POINTS: usize = 15;

/// The series of one account. A minute without messages is a point too: zero.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The minute of the last point.
    newest: Minute,
    /// Never more than [`POINTS`]; missing ones at the front are zero.
    points: VecDeque<u64>,
    /// The sum of all points that have left at the front, and of what came for them even later.
    past: u64,
}

impl Window {
    /// Adds to a minute's point. What is older than the window counts as past.
    pub(crate) fn add(&mut self, minute: Minute, count: u64) {
        self.roll_to(minute);
        let age = (self.newest - minute) as usize;
        while self.points.len() <= age && self.points.len() < POINTS {
            self.points.push_front(0);
        }
        match self.points.len().checked_sub(age + 1) {
            Some(place) => self.points[place] += count,
            None => self.past += count,
        }
    }

    /// The points up to `minute`, oldest first. Asking does not change what is there.
    pub(crate) fn series(&self, minute: Minute) -> [u64; POINTS] {
        let point = |age: usize| {
            let of = minute.checked_sub(age as u64)?;
            let place = self.points.len().checked_sub(1 + self.newest.checked_sub(of)? as usize)?;
            self.points.get(place).copied()
        };
        std::array::from_fn(|place| point(POINTS - 1 - place).unwrap_or(0))
    }

    /// All that was ever added.
    pub(crate) fn total(&self) -> u64 {
        self.past + self.points.iter().sum::<u64>()
    }

    fn roll_to(&mut self, minute: Minute) {
        if self.points.is_empty() {
            self.newest = minute;
        }
        // After more than a whole window of silence all points are zero; no need to push each.
        let steps = minute.saturating_sub(self.newest).min(2 * POINTS as u64);
        for _ in 0..steps {
            self.points.push_back(0);
            if self.points.len() > POINTS {
                self.past += self.points.pop_front().unwrap_or(0);
            }
        }
        self.newest = self.newest.max(minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(usize, u64)]) -> [u64; POINTS] {
        let mut series = [0; POINTS];
        points.iter().for_each(|(place, count)| series[*place] = *count);
        series
    }

    #[test]
    fn a_minute_without_messages_is_a_point() {
        let mut window = Window::default();
        window.add(100, 2);
        window.add(103, 5);
        assert_eq!(window.series(103), series(&[(11, 2), (14, 5)]));
        assert_eq!(window.series(105), series(&[(9, 2), (12, 5)]));
    }

    #[test]
    fn the_fifteenth_point_is_in_and_the_sixteenth_is_out() {
        let mut window = Window::default();
        window.add(100, 1);
        assert_eq!(window.series(114), series(&[(0, 1)]));
        assert_eq!(window.series(115), series(&[]));
        window.add(114, 1);
        assert_eq!(window.series(114), series(&[(0, 1), (14, 1)]));
        window.add(115, 1);
        assert_eq!(window.series(115), series(&[(13, 1), (14, 1)]));
        assert_eq!(window.total(), 3);
    }

    #[test]
    fn late_messages_count_in_their_own_minute() {
        let mut window = Window::default();
        window.add(114, 1);
        window.add(100, 7);
        window.add(99, 9);
        assert_eq!(window.series(114), series(&[(0, 7), (14, 1)]));
        assert_eq!(window.total(), 17);
    }

    #[test]
    fn a_long_silence_empties_the_window() {
        let mut window = Window::default();
        (100..115).for_each(|minute| window.add(minute, 1));
        window.add(1_000_000, 1);
        assert_eq!((window.series(1_000_000), window.total()), (series(&[(14, 1)]), 16));
    }
}
