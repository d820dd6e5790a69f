//! Random histories with crashes, on a disk that forgets what was not synced, in any order that it likes.
//!
//! The model knows of each key what was accepted, and what of that is certain: acknowledged as durable, or seen by the
//! database. After every crash, and in the end, each key has to hold at least what is certain and at most what
//! was accepted. In most of them there is too little room, and what is too much is spilled. Each insert of a key adds another power of four, so its total says of each how often it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use write_behind::exactly_once::ExactlyOnce;
use write_behind::journal::{DurableError, Fault, Journal, OnDiskFailure, SimulatedDisk};
use write_behind::{Buffer, ManualClock, Overflow, RetryPolicy, SummingBuffer};

use super::life::{INTERVAL, WINDOW, how_many, ms};
use super::store::{Database, Mood};

const KEYS: u64 = 5;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Insert(u64),
    InsertDurable(u64),
    Sync,
    Advance(Duration),
    Flush(u64),
    FlushAll,
    Remove(u64),
    RetryUndelivered,
    Be(Mood),
    /// The process dies; the disk keeps what was written and not synced, or not.
    Crash,
    /// It dies while the disk does its `n`th operation from now on.
    CrashSoon(u64),
    /// The disk fails, once, at its `n`th operation from now on.
    Fail(u64, Fault),
    /// An end in order, and the next start.
    Restart,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS;
    let mood = prop_oneof![
        3 => Just(Mood::Well),
        1 => Just(Mood::LosesAnswers),
        1 => Just(Mood::Away),
        1 => Just(Mood::RollsBack),
        1 => Just(Mood::RefusesOddKeys),
    ];
    let fault = prop_oneof![Just(Fault::Error), Just(Fault::NoSpace), Just(Fault::Short)];
    let step = prop_oneof![
        8 => key.clone().prop_map(Step::Insert),
        4 => key.clone().prop_map(Step::InsertDurable),
        1 => Just(Step::Sync),
        4 => (0..120u64).prop_map(|time| Step::Advance(ms(time))),
        2 => Just(Step::Advance(INTERVAL)),
        2 => key.clone().prop_map(Step::Flush),
        1 => Just(Step::FlushAll),
        1 => key.prop_map(Step::Remove),
        1 => Just(Step::RetryUndelivered),
        3 => mood.prop_map(Step::Be),
        2 => Just(Step::Crash),
        2 => (0..40u64).prop_map(Step::CrashSoon),
        1 => ((0..40u64), fault).prop_map(|(operation, fault)| Step::Fail(operation, fault)),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..64)
}

/// What is known of a key: the inserts that may count, by their amounts, and whether they have to.
#[derive(Debug, Default)]
struct Known {
    inserts: BTreeMap<i64, Certainty>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// Accepted in this life.
    MayCount,
    /// Accepted in an earlier one, which has crashed.
    WasInDoubt,
    MustCount,
    MustNotCount,
}

pub(crate) struct Run {
    pub(crate) disk: SimulatedDisk,
    pub(crate) database: Database,
    attempts: u32,
    /// There is room for so many keys, and the rest is spilled.
    room: Option<u64>,
    life: Option<(SummingBuffer<u64, i64>, ManualClock)>,
    known: BTreeMap<u64, Known>,
    used: BTreeMap<u64, u32>,
    /// Why the last start did not succeed.
    failed: Option<String>,
    /// What the disk meets with in the starts after a crash, after so many operations of each; the last one first.
    pub(crate) during_recoveries: Vec<(u64, Fault)>,
    /// How many starts were cut off.
    pub(crate) cut_off: u32,
}

impl Run {
    pub(crate) fn new(seed: u64, attempts: u32, room: Option<u64>) -> Self {
        let disk = SimulatedDisk::new(seed);
        let database = Database::default();
        Run {
            disk,
            database,
            attempts,
            room,
            life: None,
            known: BTreeMap::new(),
            used: BTreeMap::new(),
            failed: None,
            during_recoveries: Vec::new(),
            cut_off: 0,
        }
    }

    fn on_failure(&self) -> OnDiskFailure {
        if self.attempts % 2 == 0 { OnDiskFailure::Wait } else { OnDiskFailure::Refuse }
    }

    fn start(&mut self) {
        let clock = ManualClock::new();
        let journal =
            Journal::at("journal").simulated(&self.disk).window(WINDOW).on_failure(self.on_failure());
        let builder = Buffer::builder()
            .interval(INTERVAL)
            .jitter(Duration::ZERO)
            .partitions(2)
            .max_batch_keys(3)
            .seed(1)
            .drop_timeout(Duration::ZERO)
            .retry(RetryPolicy::fixed(self.attempts, ms(30)))
            .journal(journal.patience(Duration::from_secs(1)));
        let builder = match self.room {
            Some(keys) => {
                builder.max_keys(keys).overflow(Overflow::Spill { max_bytes: 200, timeout: ms(60) })
            }
            None => builder,
        };
        let sink = ExactlyOnce::new(self.database.clone()).prune_every(1);
        let started = builder.start_inline(sink, &clock);
        // The disk may fail while it starts.
        match started {
            Ok(buffer) => self.life = Some((buffer, clock)),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn insert(&mut self, key: u64, durable: bool) {
        let Some((buffer, _)) = &self.life else { return };
        let used = self.used.entry(key).or_default();
        if *used == 31 {
            return;
        }
        let amount = 1 << (2 * *used);
        *used += 1;
        let known = self.known.entry(key).or_default();
        known.inserts.insert(amount, Certainty::MayCount);
        if durable {
            match buffer.add_durable(&key, amount) {
                Ok(()) => drop(known.inserts.insert(amount, Certainty::MustCount)),
                Err(DurableError::Refused(_)) => drop(known.inserts.remove(&amount)),
                Err(_) => {}
            }
        } else if buffer.add(&key, amount).is_err() {
            known.inserts.remove(&amount);
        }
    }

    /// All that was accepted is on disk.
    fn synced(&mut self) {
        for known in self.known.values_mut() {
            let certainties = known.inserts.values_mut();
            certainties.filter(|certainty| **certainty == Certainty::MayCount).for_each(|certainty| {
                *certainty = Certainty::MustCount;
            });
        }
    }

    /// What was not certain may have been lost.
    fn doubt(&mut self) {
        for certainty in self.known.values_mut().flat_map(|known| known.inserts.values_mut()) {
            if *certainty == Certainty::MayCount {
                *certainty = Certainty::WasInDoubt;
            }
        }
    }

    fn crash(&mut self) {
        self.disk.restart();
        // A zombie: whatever it does from here on, it does on a disk that is no longer there.
        std::mem::forget(self.life.take());
        self.doubt();
        self.look();
    }

    /// Starts, if it has crashed. The disk may fail meanwhile, but not for ever.
    pub(crate) fn look(&mut self) {
        if self.life.is_some() {
            return;
        }
        for _ in 0..20 {
            // The first start of all recovers nothing.
            let begun = self.disk.operations();
            let cut = if begun == 0 { None } else { self.during_recoveries.pop() };
            if let Some((after, fault)) = cut {
                self.disk.fail_at(begun + after, fault);
            }
            self.start();
            if self.life.is_some() {
                break;
            }
            self.cut_off += u32::from(self.disk.is_down());
            self.disk.restart();
        }
        let Some((buffer, _)) = &self.life else { panic!("it cannot be opened: {:?}", self.failed) };
        assert_eq!(buffer.stats().balance(), 0);
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(key) => self.insert(key, false),
            Step::InsertDurable(key) => self.insert(key, true),
            Step::Be(mood) => self.database.be(mood),
            Step::Crash => self.crash(),
            Step::CrashSoon(operations) => {
                self.disk.fail_at(self.disk.operations() + operations, Fault::PowerCut);
            }
            Step::Fail(operations, fault) => self.disk.fail_at(self.disk.operations() + operations, fault),
            Step::Restart => {
                let Some((buffer, _)) = self.life.take() else { return };
                let _ = buffer.shutdown(ms(200));
                if buffer.stats().returned > 0 || self.disk.is_down() {
                    self.disk.restart();
                    self.doubt();
                } else {
                    self.synced();
                }
                drop(buffer);
                self.look();
            }
            _ => {
                let Some((buffer, clock)) = &self.life else { return };
                match *step {
                    Step::Sync => {
                        let synced = buffer.sync();
                        synced.into_iter().for_each(|()| self.synced());
                    }
                    Step::Advance(time) => clock.advance(time),
                    Step::Flush(key) => buffer.flush(&key),
                    Step::FlushAll => buffer.flush_all(),
                    Step::RetryUndelivered => drop(buffer.retry_undelivered()),
                    Step::Remove(key) => {
                        let removed: i64 = buffer.remove(&key).iter().map(|data| data.0).sum();
                        let synced = buffer.sync().is_ok();
                        for (amount, certainty) in &mut self.known.entry(key).or_default().inserts {
                            if removed & amount != 0 {
                                *certainty =
                                    if synced { Certainty::MustNotCount } else { Certainty::WasInDoubt };
                            }
                        }
                        if synced {
                            self.synced();
                        }
                    }
                    _ => {}
                }
            }
        }
        if self.disk.is_down() {
            self.crash();
        }
    }

    pub(crate) fn finish(mut self) {
        self.database.be(Mood::Well);
        self.look();
        for _ in 0..20 {
            let Some((buffer, clock)) = &self.life else { break };
            buffer.retry_undelivered();
            clock.advance(INTERVAL);
            if self.disk.is_down() {
                self.crash();
            }
        }
        let Some((buffer, _)) = self.life.take() else { return };
        buffer.shutdown(Duration::from_secs(60)).unwrap();
        let stats = buffer.stats();
        assert_eq!((stats.balance(), stats.journaled, stats.undelivered), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.spilled, stats.spilled_bytes), (0, 0));
        // A crash in `handle_error` has it called again, with the same batch.
        let letters: BTreeSet<_> = self.database.letters().into_iter().collect();
        for (key, known) in &self.known {
            let letters = letters.iter().filter(|(_, of, _)| of == key).map(|(.., amount)| amount);
            let total = self.database.total(*key) + letters.sum::<i64>();
            for (amount, certainty) in &known.inserts {
                let times = total / amount % 4;
                let right = match certainty {
                    Certainty::MayCount | Certainty::WasInDoubt => times <= 1,
                    Certainty::MustCount => times == 1,
                    Certainty::MustNotCount => times == 0,
                };
                assert!(right, "{amount} of key {key}, which {certainty:?}, counts {times} times");
            }
        }
    }
}

fn cases() -> Config {
    let cases = how_many("WRITE_BEHIND_CASES", 300) as u32;
    Config { cases, max_shrink_iters: 5_000, ..Config::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_certain_counts_exactly_once(
        seed: u64,
        attempts in 2..5u32,
        room in prop_oneof![2 => Just(None), 3 => (1..4u64).prop_map(Some)],
        steps in steps(),
    ) {
        let mut run = Run::new(seed, attempts, room);
        run.look();
        steps.iter().for_each(|step| run.step(step));
        run.finish();
    }
}
