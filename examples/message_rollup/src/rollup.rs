//! The roll-up itself: messages in, series out, and one buffer between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use write_behind::{Buffer, BuildError, Builder, DataBuffer, FlushContext, FlushError};

use crate::Account;
use crate::minutes::{Minute, Minutes};
use crate::pace::Pace;
use crate::traffic::Message;
use crate::window::{POINTS, Window};

/// What is stored.
#[derive(Default)]
struct Stored {
    series: BTreeMap<Account, Window>,
    writes: u64,
}

/// Adds what the buffer hands over to the series.
pub(crate) struct Store {
    stored: Arc<Mutex<Stored>>,
    pace: Arc<Pace>,
}

impl DataBuffer<Account, Minutes> for Store {
    fn handle_flush(
        &self,
        account: &Account,
        minutes: &Minutes,
        context: &FlushContext,
    ) -> Result<(), FlushError> {
        self.pace.flushed(account, context.count());
        let mut stored = self.stored.lock().expect("no panic in here");
        stored.writes += 1;
        let window = stored.series.entry(account.clone()).or_default();
        minutes.iter().for_each(|(minute, count)| window.add(minute, count));
        Ok(())
    }
}

pub(crate) struct Rollup {
    buffer: Buffer<Account, Minutes>,
    stored: Arc<Mutex<Stored>>,
    pace: Arc<Pace>,
    accounts: BTreeSet<Account>,
    pub(crate) received: u64,
    pub(crate) too_late: u64,
}

impl Rollup {
    /// `start` decides who does the buffer's work.
    pub(crate) fn new(
        shortest: Duration,
        longest: Duration,
        start: impl FnOnce(Builder<Account, Minutes>, Store) -> Result<Buffer<Account, Minutes>, BuildError>,
    ) -> Result<Self, BuildError> {
        let (stored, pace) = (Arc::default(), Arc::new(Pace::new(shortest, longest)));
        let store = Store { stored: Arc::clone(&stored), pace: Arc::clone(&pace) };
        let builder = Buffer::builder().name("message-rollup").partitions(4);
        let builder = builder.interval(longest).interval_policy(Arc::clone(&pace));
        let buffer = start(builder, store)?;
        Ok(Rollup { buffer, stored, pace, accounts: BTreeSet::new(), received: 0, too_late: 0 })
    }

    /// Counts a message in the minute in which it was written, if that is still in the window. Says
    /// whether it was.
    pub(crate) fn receive(&mut self, message: &Message, now: Minute) -> bool {
        self.received += 1;
        let minute = minute_of(message.written);
        let in_window = minute + POINTS as u64 > now;
        if in_window {
            self.accounts.insert(message.account.clone());
            self.buffer.insert_ref(&message.account, minute).expect("a few accounts fit, and it is open");
        } else {
            self.too_late += 1;
        }
        in_window
    }

    /// What is stored and what is on its way, for each account: the points up to `minute`, and the
    /// present interval. Exact as long as nobody flushes meanwhile.
    pub(crate) fn series(&self, minute: Minute) -> Vec<(Account, [u64; POINTS], Duration)> {
        let stored = self.stored.lock().expect("no panic in here");
        let of = |account: &Account| {
            let mut points = stored.series.get(account).map_or([0; POINTS], |window| window.series(minute));
            let peek = self.buffer.peek(account);
            for (of, count) in peek.iter().flat_map(Minutes::iter) {
                let place = (of + POINTS as u64).checked_sub(minute + 1);
                if let Some(point) = place.and_then(|place| points.get_mut(place as usize)) {
                    *point += count;
                }
            }
            (account.clone(), points, self.pace.interval_of(account))
        };
        self.accounts.iter().map(of).collect()
    }

    /// How many messages have reached the series, and by how many writes.
    pub(crate) fn stored(&self) -> (u64, u64) {
        let stored = self.stored.lock().expect("no panic in here");
        (stored.series.values().map(Window::total).sum(), stored.writes)
    }

    /// Stores all that is on its way.
    pub(crate) fn flush(&self) {
        self.buffer.flush_all_and_wait(Duration::from_secs(10)).expect("the store never fails");
    }
}

pub(crate) fn minute_of(time: Duration) -> Minute {
    time.as_secs() / 60
}
