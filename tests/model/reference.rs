//! The plain model: what is where, by the contract.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use write_behind::{BatchId, Overflow};

use crate::history::Settings;
use crate::sink::{Kind, Line};

/// A generation and the numbers of the inserts in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generation<V> {
    pub(crate) data: V,
    pub(crate) numbers: Vec<u64>,
}

impl<V> Generation<V> {
    pub(crate) fn count(&self) -> u64 {
        self.numbers.len() as u64
    }
}

/// Which batch a flight belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ident {
    Batch(BatchId),
    /// A part of a batch, whose new id is not yet known.
    Part(usize),
}

/// What a flight waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wait {
    /// Its next attempt, neither before nor after these times.
    Attempt { ident: Ident, from: Duration, until: Duration },
    /// `handle_error`, with so many keys of its batch.
    GivingUp { ident: Ident, keys: usize, may_be_applied: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct Flight<V> {
    pub(crate) generation: Generation<V>,
    pub(crate) attempts: u32,
    /// An attempt may have been applied.
    pub(crate) frozen: bool,
    pub(crate) wait: Wait,
}

/// A batch that `handle_error` is being given, key by key.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) id: BatchId,
    pub(crate) keys: usize,
    pub(crate) handed: usize,
    pub(crate) may_be_applied: bool,
    /// Nothing of it is gone.
    pub(crate) whole: bool,
    /// To be put back, and to be kept.
    pub(crate) back: Vec<u8>,
    pub(crate) kept: Vec<u8>,
}

/// What has asked for a flush of a key's last generation, and of those before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) requested: bool,
    /// The whole buffer was full.
    pub(crate) volume: bool,
    /// It reached `flush_at_count`.
    pub(crate) full: bool,
    /// An insert made it ready.
    pub(crate) ready: bool,
}

#[derive(Debug)]
pub(crate) struct KeyState<V> {
    /// Oldest first; the last one absorbs, those before it were closed early.
    pub(crate) generations: VecDeque<Generation<V>>,
    /// The earliest and the latest time that the schedule may flush the last generation at.
    pub(crate) window: (Duration, Duration),
    /// When that generation began, or was put back.
    pub(crate) began: Duration,
    pub(crate) asked: Asked,
    /// Something was put back before the closed generations, so all wait for the window.
    pub(crate) held: bool,
    pub(crate) flight: Option<Flight<V>>,
}

impl<V> Default for KeyState<V> {
    fn default() -> Self {
        KeyState {
            generations: VecDeque::new(),
            window: (Duration::MAX, Duration::MAX),
            began: Duration::ZERO,
            asked: Asked::default(),
            held: false,
            flight: None,
        }
    }
}

impl<V> KeyState<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.flight.is_none()
    }

    /// Whether the schedule has to have flushed it by now.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let closed = self.generations.len() > 1;
        let Asked { requested, volume, full, ready } = self.asked;
        self.window.1 <= now || requested || volume || if closed { !self.held } else { full || ready }
    }
}

/// What was given up and kept of a batch.
#[derive(Debug)]
pub(crate) struct Kept<V> {
    pub(crate) id: BatchId,
    pub(crate) attempts: u32,
    pub(crate) frozen: bool,
    pub(crate) whole: bool,
    pub(crate) lines: Vec<KeptLine<V>>,
}

#[derive(Debug)]
pub(crate) struct KeptLine<V> {
    pub(crate) key: u8,
    pub(crate) generation: Generation<V>,
    /// No newer data of the key was there to hold its place in the count of keys.
    pub(crate) holds_key: bool,
}

/// How an accepted insert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Flushed,
    GaveUp,
    Removed,
    Returned,
}

#[derive(Debug)]
pub(crate) struct Model<V> {
    pub(crate) settings: Settings,
    pub(crate) keys: BTreeMap<u8, KeyState<V>>,
    pub(crate) kept: Vec<Kept<V>>,
    pub(crate) parting: Option<Parting>,
    /// Pending inserts that do not count towards `flush_all_at_count` any more.
    pub(crate) settled: u64,
    pub(crate) ends: BTreeMap<u64, End>,
    /// Numbers that storage which records batch ids has applied.
    pub(crate) applied: BTreeSet<u64>,
    pub(crate) last_applied: BTreeMap<u8, u64>,
    /// Numbers that have been kept, and so are out of order.
    pub(crate) set_aside: BTreeSet<u64>,
    /// What each batch holds, for ever.
    pub(crate) batches: BTreeMap<BatchId, Vec<Line<V>>>,
    /// What each part of a batch holds.
    pub(crate) parts: Vec<Vec<Line<V>>>,
    /// No batch below this is sent any more.
    pub(crate) settled_below: u64,
    /// Numbers of which somebody heard that they failed for good, during this step.
    pub(crate) failed: BTreeSet<u64>,
    pub(crate) closed: bool,
    /// What the sink was told of the end.
    pub(crate) retired: Option<u64>,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) shed: Vec<(u8, V)>,
    pub(crate) flushes: u64,
    pub(crate) failures: u64,
    pub(crate) retries: u64,
    pub(crate) panics: u64,
}

impl<V: Kind> Model<V> {
    pub(crate) fn new(settings: Settings) -> Self {
        Model {
            settings,
            keys: (0..6).map(|key| (key, KeyState::default())).collect(),
            kept: Vec::new(),
            parting: None,
            settled: 0,
            ends: BTreeMap::new(),
            applied: BTreeSet::new(),
            last_applied: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            batches: BTreeMap::new(),
            parts: Vec::new(),
            settled_below: 0,
            failed: BTreeSet::new(),
            closed: false,
            retired: None,
            accepted: 0,
            rejected: 0,
            shed: Vec::new(),
            flushes: 0,
            failures: 0,
            retries: 0,
            panics: 0,
        }
    }

    pub(crate) fn key(&mut self, key: u8) -> &mut KeyState<V> {
        self.keys.get_mut(&key).expect("keys are drawn from these")
    }

    /// Keys and weight that are in use.
    pub(crate) fn in_use(&self) -> (u64, u64) {
        let keys = self.keys.values().filter(|state| !state.is_empty()).count();
        let held = self.kept.iter().flat_map(|kept| &kept.lines).filter(|line| line.holds_key).count();
        let pending = self.keys.values().flat_map(|state| &state.generations);
        let flying = self.keys.values().flat_map(|state| &state.flight).map(|flight| &flight.generation);
        let kept = self.kept.iter().flat_map(|kept| &kept.lines).map(|line| &line.generation);
        let all = pending.chain(flying).chain(kept);
        ((keys + held) as u64, all.map(|generation| generation.data.weight()).sum())
    }

    /// Whether there is room for the item.
    pub(crate) fn fits(&self, key: u8, item: &V::Item) -> bool {
        let state = &self.keys[&key];
        let weight = match state.generations.back() {
            Some(last) if last.data.accepts(item) => last.data.growth(item),
            _ => V::start_weight(item),
        };
        let (keys, used) = self.in_use();
        keys + u64::from(state.is_empty()) <= self.settings.max_keys
            && used + weight <= self.settings.max_weight
    }

    pub(crate) fn accept(&mut self, key: u8, item: V::Item, now: Duration) {
        self.accepted += 1;
        let (number, flush_at_count) = (self.accepted, self.settings.flush_at_count.map(u64::from));
        let (interval_at_count, jitter) = (self.settings.interval_at_count.clone(), self.settings.jitter);
        let starts = self.keys[&key].generations.back().is_none_or(|last| !last.data.accepts(&item));
        let window = starts.then(|| self.window(key, now));
        let state = self.key(key);
        match state.generations.back_mut() {
            Some(last) if last.data.accepts(&item) => {
                let was_ready = last.data.is_ready();
                last.data.absorb(item);
                state.asked.ready |= !was_ready && last.data.is_ready();
                last.numbers.push(number);
                state.asked.full |= Some(last.count()) == flush_at_count;
                let step = interval_at_count.iter().find(|(inserts, _)| u64::from(*inserts) == last.count());
                if let Some(&(_, within)) = step {
                    let latest = state.began + within + jitter;
                    state.window.0 = state.window.0.min(state.began + within);
                    state.window.1 = state.window.1.min(latest);
                }
            }
            last => {
                // What was asked for, or held back, was what is closed now.
                state.held &= last.is_none();
                let data = V::start(item);
                state.asked =
                    Asked { ready: data.is_ready(), full: flush_at_count == Some(1), ..Asked::default() };
                state.generations.push_back(Generation { data, numbers: vec![number] });
                (state.window, state.began) = (window.expect("it starts one"), now);
            }
        }
        self.flush_if_full();
    }

    fn pending(&self) -> u64 {
        self.keys.values().flat_map(|state| &state.generations).map(Generation::count).sum()
    }

    /// An insert is in: if the buffer is full as a whole, all that is pending is asked for.
    fn flush_if_full(&mut self) {
        if self.settings.flush_all_at_count.is_none_or(|limit| self.pending() - self.settled < limit) {
            return;
        }
        self.settled = self.pending();
        self.keys.values_mut().for_each(|state| state.asked.volume |= !state.generations.is_empty());
    }

    /// So many inserts have left the table; those that had been asked for go first.
    pub(crate) fn leave(&mut self, inserts: u64) {
        self.settled = self.settled.saturating_sub(inserts);
    }

    /// When a generation that begins now is due.
    pub(crate) fn window(&mut self, key: u8, now: Duration) -> (Duration, Duration) {
        let longest = self.settings.interval;
        let chosen = self.settings.policy.map(|policy| policy[usize::from(key)]);
        self.panics += u64::from(chosen == Some(None));
        let interval = chosen.flatten().unwrap_or(longest).clamp(Duration::from_millis(1), longest);
        let low = now + interval;
        (low, low + self.settings.jitter)
    }

    pub(crate) fn request(&mut self, key: u8) {
        let state = self.key(key);
        state.asked.requested |= !state.generations.is_empty();
    }

    pub(crate) fn remove(&mut self, key: u8) -> Vec<V> {
        let state = self.key(key);
        (state.asked, state.held) = (Asked::default(), false);
        let removed = std::mem::take(&mut state.generations);
        for generation in &removed {
            self.end(generation, End::Removed);
            self.leave(generation.count());
        }
        removed.into_iter().map(|generation| generation.data).collect()
    }

    /// Whether a batch that is kept can be offered: whole if it may have been applied, unless newer data is
    /// in flight, and with room for those of its keys that hold no place.
    pub(crate) fn is_offerable(&self, kept: &Kept<V>) -> bool {
        let busy = kept.lines.iter().any(|line| self.keys[&line.key].flight.is_some());
        let places = kept.lines.iter().filter(|line| !line.holds_key).count() as u64;
        let has_room = self.in_use().0 + places <= self.settings.max_keys;
        (kept.whole || !kept.frozen) && !busy && has_room
    }

    /// Offers what was kept again.
    pub(crate) fn offer(&mut self, kept: Kept<V>, now: Duration) {
        let Kept { id, frozen, lines, .. } = kept;
        for KeptLine { key, generation, .. } in lines {
            if frozen {
                let wait = Wait::Attempt { ident: Ident::Batch(id), from: now, until: now };
                self.key(key).flight = Some(Flight { generation, attempts: 0, frozen, wait });
            } else {
                self.requeue(key, generation, now);
            }
        }
    }

    /// Puts data back before newer data of its key.
    pub(crate) fn requeue(&mut self, key: u8, mut older: Generation<V>, now: Duration) {
        let window = self.window(key, now);
        self.settled += older.count();
        let state = self.key(key);
        let merges = state.generations.len() == 1 && older.data.accepts_merge(&state.generations[0].data);
        if let Some(newer) = merges.then(|| state.generations.pop_front()).flatten() {
            older.data.merge(newer.data);
            older.numbers.extend(newer.numbers);
        }
        state.generations.push_front(older);
        (state.window, state.began) = (window, now);
        (state.asked, state.held) = (Asked::default(), true);
    }

    pub(crate) fn end(&mut self, generation: &Generation<V>, end: End) {
        for &number in &generation.numbers {
            let before = self.ends.insert(number, end);
            assert_eq!(before, None, "insert {number} ends twice");
        }
    }

    pub(crate) fn ended(&self, end: End) -> u64 {
        self.ends.values().filter(|&&other| other == end).count() as u64
    }

    pub(crate) fn may_press(&self) -> bool {
        matches!(self.settings.overflow, Overflow::FlushOldest { .. })
    }
}
